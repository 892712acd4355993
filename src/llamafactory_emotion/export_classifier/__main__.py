"""`python -m llamafactory_emotion.export_classifier`: one folder that everybody can serve.

The command over `exporting`: it reads the call, and says what was written and how it was checked.
The grammar is `predict`'s.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamafactory_emotion.export_classifier.options import read_options
from llamafactory_emotion.options import read_call
from llamafactory_emotion.task import load_task
from llamafactory_emotion.terminal import printable, run_recipe_command

if TYPE_CHECKING:
    from llamafactory_emotion.export_classifier.run import Exported

_USAGE = """usage: python -m llamafactory_emotion.export_classifier [recipe.yaml] key=value ...

  model_name_or_path=MODEL      a folder or hub id (an adapter's folder stands for both)
  adapter_name_or_path=ADAPTER  a LoRA adapter; it is merged
  output=DIR                    the folder to write
  task=NAME|FILE                the labels and the instruction (default: emotion)
  template=NAME                 the prompt the model was trained with (default: emotion)
  cutoff_len=N                  the longest prompt and answer in tokens (default: 2048)
  verify=FILE                   rows on which the folder must give what predict gives
  tolerance=1e-5                by how much a probability may differ there (default: by rounding)
  evaluation=FILE.json          what evaluate --json wrote, for the model card
  infer_dtype=float32|...       the type of the weights (default: the checkpoint's)
  few_shot=FILE shots=K         K examples of each label become a part of the prompt
  overwrite=true                replace a model folder

The folder is a sequence classifier of transformers with the prompt in its tokenizer: give it texts
through pipeline("text-classification", model=DIR), vLLM, or predict model_name_or_path=DIR."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export and say what was done; give the exit code."""
    return run_recipe_command(_run, argv, usage=_USAGE)


def _run(arguments: Sequence[str]) -> int:
    options = read_options(read_call(arguments))
    task = load_task(options.task)
    from llamafactory_emotion.export_classifier.run import export

    for line in _report(export(options, task), options.verify):
        print(printable(line))
    return 0


def _report(done: "Exported", verify: str | None) -> list[str]:
    lines = [
        f"{done.folder}: a sequence classifier ({done.dtype})",
        f"  checked on difficult texts: {done.checked}",
    ]
    if done.verified is not None:
        lines.append(f"  verified on {verify}: {done.verified}")
    if done.verified is not None and done.left_out:
        lines.append(f"  {done.left_out:,} rows are empty or too long and were not compared")
    if done.baked.glue_after:
        lines.append(
            f"  a text that truncation=True cuts loses {done.baked.glue_after!r} before the cue "
            "(predict on this folder keeps it)"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
