"""`python -m llamafactory_emotion.export_classifier`: one folder that everybody can serve.

The command over `exporting`: it reads the call, and says what was written and how it was checked.
The grammar is `predict`'s.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamafactory_emotion.export_classifier.options import ExportOptions
from llamafactory_emotion.task import load_task
from llamafactory_emotion.terminal import printable, run_command

if TYPE_CHECKING:
    from llamafactory_emotion.export_classifier.run import Exported


def main(argv: Sequence[str] | None = None) -> int:
    """Export and say what was done; return the exit code."""
    return run_command(
        "export_classifier",
        ExportOptions,
        lambda options, _: _run(options),
        argv,
        about="Write a trained model as an ordinary sequence classifier of transformers, its "
        "prompt in the tokenizer.",
        notes="Give the folder texts through pipeline('text-classification', model=DIR), vLLM, or "
        "predict model_name_or_path=DIR.",
    )


def _run(options: ExportOptions) -> int:
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
