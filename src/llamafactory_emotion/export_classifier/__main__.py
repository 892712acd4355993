"""`python -m llamafactory_emotion.export_classifier`: a trained model as an ordinary classifier."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import check_apart, check_output_folder
from llamafactory_emotion.options import Call, key
from llamafactory_emotion.predict.options import ModelOptions
from llamafactory_emotion.run_record import RECORD_NAME
from llamafactory_emotion.task_choice import Sources
from llamafactory_emotion.terminal import printable, run_command

# What predict can do to scores and a head cannot.
_NO_HEAD = ("normalize", "calibrate", "generate", "log_likelihoods")
# What an export, or a push of it to a hub, leaves in its folder.
_EXPORTED = (
    *("config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "README.md", ".gitattributes"),
    RECORD_NAME,
)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ModelOptions):
    """The keys of `export_classifier`; others of a training or merging recipe are passed over."""

    output: str = key(about="the folder to write", metavar="DIR")
    verify: str | None = key(
        None, about="rows on which the folder must give what predict gives", metavar="FILE"
    )
    tolerance: float | None = key(
        None,
        about="by how much a probability may differ there (default: what float32 rounds)",
        metavar="1e-5",
        least=0,
        most=1,
    )
    evaluation: str | None = key(
        None, about="what evaluate json=FILE wrote, for the model card", metavar="FILE"
    )
    cutoff_len: int = key(2048, about="the longest prompt and answer in tokens", least=1, host=True)

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Accept LLaMA-Factory's keys, and those of `predict` to say why they do not work."""
        return name in _NO_HEAD or super().accepts(name)

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say what cannot be exported."""
        yield from super().problems(given)
        yield from (
            f"{name} cannot be put into a classifier's head; remove it, or use predict"
            for name in _NO_HEAD
            if given.get(name) not in (None, False, "false", "none")
        )
        if given.get("quantization_bit"):
            yield "quantization_bit cannot be exported; name base model and adapter without it"


def main(argv: Sequence[str] | None = None) -> int:
    """Export and say what was done; return the exit code."""
    return run_command(
        "export_classifier",
        ExportOptions,
        export,
        argv,
        about="Write a trained model as an ordinary sequence classifier of transformers, its "
        "prompt in the tokenizer.",
        notes="Give the folder texts through pipeline('text-classification', model=DIR), vLLM, or "
        "predict model_name_or_path=DIR.",
    )


def export(options: ExportOptions, call: Call) -> int:
    """Write the folder and print what was found; return the exit code."""
    _check_output(options, call.recipe)
    datasets = options.few_shot_datasets
    files = [options.verify, None if datasets else options.few_shot]
    sources = Sources(dataset_dir=options.dataset_dir, datasets=datasets, files=files)
    task = options.choose_task(sources)
    from llamafactory_emotion.export_classifier.folder import write_classifier

    print(printable("\n".join(write_classifier(options, task))))
    return 0


def _check_output(options: ExportOptions, recipe: Path | None) -> None:
    """Refuse an output that is read, or that holds what no export wrote."""
    output = Path(options.output)
    read = [options.model_name_or_path, options.adapter_name_or_path, recipe]
    read += [options.task, options.labels, options.few_shot, options.verify, options.evaluation]
    # A name of the hub or of a built-in task is no path.
    check_apart([output], [path for path in read if path and Path(path).exists()])
    check_output_folder(output, overwrite=options.overwrite)
    for path in sorted(output.iterdir()) if output.is_dir() else ():
        if path.is_dir() or not any(fnmatch(path.name, pattern) for pattern in _EXPORTED):
            raise CallError(
                f"output={output} holds {path.name}, which no export writes, so the folder is not "
                "replaced; name another one."
            )


if __name__ == "__main__":
    sys.exit(main())
