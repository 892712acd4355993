"""The documents: every command runs as it is written, or is listed here with the reason why not."""

import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from documents import Command, blocks_of, commands_of, pages, run_page
from programs import ROOT
from stand_ins import Stage

from llamafactory_emotion.__main__ import COMMANDS
from llamafactory_emotion.doctor.__main__ import DoctorOptions
from llamafactory_emotion.options import host_keys, read_call

PAGES = pages()
LANGUAGES = {"", "bash", "json", "jinja", "mermaid", "python", "text", "toml", "yaml"}
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
Check = Callable[[Command], None]


def has_make_target(command: Command) -> None:
    """`make X`: X is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in shlex.split(command.text)[1:]:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), command


def names_our_extras(command: Command) -> None:
    """`pip install llamafactory-emotion[X]`: X is an extra of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(rf"{project['name']}\[([^]]+)\]", command.text):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys(), command


def is_taken_by_llamafactory(command: Command) -> None:
    """The recipe is there, and every key is one of LLaMA-Factory's."""
    words = [word for word in shlex.split(command.text) if not re.match(r"[A-Z_]+=", word)]
    assert words[0] == "llamafactory-cli", command
    keys = read_call([str(ROOT / words[2]), *words[3:]], DoctorOptions).values.keys()
    assert keys <= host_keys(), f"{command}: {keys - host_keys()}"


def names_a_program_of_ours(command: Command) -> None:
    """`python examples/X.py --flag`: the program is there and its source holds each flag."""
    words = shlex.split(command.text)
    program = next(word for word in words if word.endswith(".py"))
    source = (ROOT / program).read_text(encoding="utf-8")
    for flag in words[words.index(program) + 1 :]:
        assert not flag.startswith("--") or f'"{flag}"' in source, f"{command}: {flag}"


# What is not run here: a pattern of the command, what is checked instead, and why it is not run.
NOT_RUN: tuple[tuple[str, Check | None, str], ...] = (
    (r"make [a-z-]+", has_make_target, "makes an environment, or runs these tests"),
    (r"pip install .*", names_our_extras, "needs the network"),
    (r"(hf auth|huggingface-cli) login|hf upload .*", None, "needs the network and an account"),
    (r"(\w+=\S+ )*(NNODES|NPROC_PER_NODE)=.*", is_taken_by_llamafactory, "needs several GPUs or "
     "hosts; tests/e2e/test_training_recipes.py runs two processes"),
    (r".* examples/emotion_full_ds3\.yaml.*", is_taken_by_llamafactory, "needs DeepSpeed"),
    (r"(\w+=\S+ )*llamafactory-cli (api|chat|webchat)\b.*", is_taken_by_llamafactory,
     "serves until it is stopped"),
    (r"(\w+=\S+ )*llamafactory-cli webui", None, "serves until it is stopped; "
     "tests/e2e/test_webui_in_browser.py runs it"),
    (r"ray (start|up|status|stop)\b.*", None, "makes or asks a cluster"),
    (r"ray job submit .*", names_a_program_of_ours, "needs a cluster"),
    (r"(RAY_\w+=\S+ )*python examples/ray_batch\.py .*", names_a_program_of_ours,
     "tests/examples/test_ray_batch.py runs it, and starting Ray takes long"),
    (r"python benchmarks/\w+\.py .*", names_a_program_of_ours, "measures for minutes or hours"),
    (r"python examples/smollm2\.py .*", names_a_program_of_ours, "unpacks 538 MB, where a small "
     "model stands in; tests/examples/test_smollm2.py runs it"),
    (r"python examples/gradio_app\.py .*", names_a_program_of_ours, "serves until it is stopped; "
     "tests/e2e/test_gradio_in_browser.py runs it"),
    (r"torchrun .* -m llamafactory_emotion\.\w+ .*", None, "needs GPUs and a hub's model"),
    (r"(vllm serve|python -m sglang\.launch_server) .*", None, "needs a GPU"),
    (r"curl .*", None, "asks a server that another command starts"),
    (r"lm_eval .*", None,
     "loads hundreds of tasks; tests/examples/test_lm_eval_task.py runs ours"),
)  # fmt: skip


def entry_of(command: Command) -> tuple[str, Check | None, str] | None:
    """Return the entry of NOT_RUN that a command falls under, or None."""
    return next((entry for entry in NOT_RUN if re.fullmatch(entry[0], command.text)), None)


BLOCKS = {page: blocks_of(page, text) for page, text in PAGES.items()}
COMMANDS_OF = {
    page: [commands_of(block) for block in blocks if block.holds_commands]
    for page, blocks in BLOCKS.items()
}
ALL = [command for blocks in COMMANDS_OF.values() for block in blocks for command in block]
RUN = {
    page: [[one for one in block if entry_of(one) is None] for block in blocks]
    for page, blocks in COMMANDS_OF.items()
}


@pytest.fixture(scope="module")
def stage(tiny_base: Path, classifier_folder: Path, tmp_path_factory) -> Stage:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapter = tmp_path_factory.mktemp("adapter") / "adapter"
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    get_peft_model(base, LoraConfig(r=8, task_type="CAUSAL_LM")).save_pretrained(adapter)
    hub = ("HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Meta-Llama-3-8B")
    models = dict.fromkeys((*hub, "saves/emotion_merged", "saves/smollm2"), tiny_base)
    models |= {"saves/emotion_lora": adapter, "saves/emotion_cpu": adapter}
    models |= {"saves/emotion_classifier": classifier_folder}
    return Stage(models, PAGES)


TRANSLATIONS = [page for page in PAGES if re.fullmatch(r"README\.\w+\.md", page)]


@pytest.mark.parametrize("page", TRANSLATIONS)
def test_a_translations_commands_stand_in_the_english_pages(page: str):
    english = "\n".join(text for name, text in PAGES.items() if name not in TRANSLATIONS)

    assert [str(one) for one in ALL if one.page == page and one.text not in english] == []


@pytest.mark.parametrize(
    "page", [page for page, blocks in RUN.items() if any(blocks) and page not in TRANSLATIONS]
)
def test_every_command_of_a_page_runs_as_it_is_written(page: str, stage: Stage, tmp_path: Path):
    run_page(page, RUN[page], tmp_path / "page", stage)


@pytest.mark.parametrize("command", [one for one in ALL if entry_of(one)], ids=str)
def test_a_command_that_cannot_be_run_names_what_there_is(command: Command):
    _, check, why_not = entry_of(command)
    assert why_not
    if check is not None:
        check(command)


def test_blocks_become_commands_by_language_or_first_word():
    text = "x\n```bash\n# why\npython a \\\n  b=1  # note\n\n$ make c\n```\n```yaml\nd: 1\n```\n"
    text += "```\nllamafactory-cli train x\n```\n\n```\nrows  360\n```\n"

    blocks = blocks_of("page.md", text)

    assert [block.holds_commands for block in blocks] == [True, False, True, False]
    commands = [str(command) for command in commands_of(blocks[0])]
    assert commands == ["page.md:4: python a b=1", "page.md:7: make c"]
    assert {"README.md", "docs/README.md", "docs/scoring.md"} <= PAGES.keys()
    assert len(ALL) > 20


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str):
    """Commands within a sentence, files in backquotes, links, and the languages of blocks."""
    text = PAGES[page]
    named = re.findall(r"(?:-m llamafactory_emotion\.|llamafactory-emotion )(\w+)", text)
    assert set(named) <= {*COMMANDS, "COMMAND"}
    files = r"`((?:examples|docs|tests|benchmarks|src/llamafactory_emotion)/[\w./-]+\.\w+)`"
    paths = [(ROOT / page).parent / target for target in LINK.findall(text)]
    paths += [ROOT / one for one in re.findall(files, text)]
    assert [str(path) for path in paths if not path.exists()] == []
    assert [str(one) for one in BLOCKS[page] if one.language not in LANGUAGES] == []


def test_the_index_of_docs_lists_every_page():
    listed = LINK.findall(PAGES["docs/README.md"])
    existing = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]

    assert sorted(set(listed) - {"../README.md"}) == sorted(existing)


@pytest.mark.parametrize(
    "block",
    [one for blocks in BLOCKS.values() for one in blocks if one.language in ("python", "yaml")],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_settings_are_yaml_and_programs_name_what_the_package_has(block):
    content = "\n".join(block.lines)
    if block.language == "yaml":
        assert yaml.safe_load(content)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("llamafactory_emotion"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)
