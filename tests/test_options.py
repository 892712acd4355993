"""One grammar for all commands, and LLaMA-Factory's keys, read without importing LLaMA-Factory."""

from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

import pytest
from programs import run_python

from llamafactory_emotion.__main__ import COMMANDS
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import (
    Options,
    RecipeOptions,
    help_text,
    host_keys,
    key,
    read_options,
)
from llamafactory_emotion.predict.options import PredictOptions


@dataclass(frozen=True, kw_only=True)
class Plain(Options):
    files: list[str] = key([], about="files to read", metavar="FILE", positional=True)
    text: str | None = key(None, about="a text")
    out: Path | None = key(None, about="a file to write", bare="-")
    page: list[Path] = key([], about="pages")
    sizes: list[int] = key([1], about="sizes", least=1)
    share: float = key(0.5, about="a share", least=0, most=1)
    kind: str = key("a", about="a kind", choices=("a", "b"))
    over_write: bool = key(False, about="replace")


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeOptions):
    model_name_or_path: str = key(about="name the model", host=True)
    out: str | None = key(None, about="a file to write")
    names: str | None = key(None, about="names")
    steps: int = key(3, about="steps")
    token: str | None = key(None, about="a token", secret=True)


def plain(*words: str) -> Plain:
    return read_options(words, Plain)[0]


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ([], {}),
        (["a.jsonl", "-"], {"files": ["a.jsonl", "-"]}),
        (["=x"], {"files": ["=x"]}),
        (["text=x", "share=0.25"], {"text": "x", "share": 0.25}),
        (["--text", "x", "--share=0.25"], {"text": "x", "share": 0.25}),
        (["--text", "-5"], {"text": "-5"}),
        (["text=a=b c"], {"text": "a=b c"}),
        (["text=no"], {"text": "no"}),
        (["text=0012"], {"text": "0012"}),
        (["text=[a"], {"text": "[a"}),
        (["text="], {}),
        (["text=x", "text=null"], {}),
        (["--over-write"], {"over_write": True}),
        (["--over_write", "a.jsonl"], {"over_write": True, "files": ["a.jsonl"]}),
        (["--over_write", "false"], {}),
        (["over_write=true"], {"over_write": True}),
        (["--over_write=yes"], {"over_write": True}),
        (["--out"], {"out": Path("-")}),
        (["--out", "x.json"], {"out": Path("x.json")}),
        (["--out", "text=x"], {"out": Path("-"), "text": "x"}),
        (["page=a", "--page", "b"], {"page": [Path("a"), Path("b")]}),
        (["sizes=1,2", "sizes=3"], {"sizes": [1, 2, 3]}),
        (["--kind=b"], {"kind": "b"}),
    ],
)
def test_a_key_is_written_in_several_ways(words, changed):
    assert plain(*words) == Plain(**changed)


@dataclass(frozen=True, kw_only=True)
class OneFile(Options):
    train: Path = key(about="a file to read", metavar="FILE", positional=True)


@pytest.mark.parametrize("words", [["a.json"], ["train=a.json"], ["--train", "a.json"]])
def test_a_word_may_be_the_one_file(words):
    assert read_options(words, OneFile)[0].train == Path("a.json")
    with pytest.raises(CallError, match=r"'b\.csv': write key=value; the help names the keys"):
        read_options([*words, "b.csv"], OneFile)
    with pytest.raises(CallError, match=r"train is given twice, as a\.json and b\.csv; keep one"):
        read_options(["a.json", "train=b.csv"], OneFile)
    text = help_text("show", OneFile, "Show it.")
    assert text.startswith("usage: python -m llamafactory_emotion.show [FILE] [recipe.yaml] key=")
    assert "  train=FILE                      a file to read" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-x"], "'-x': write key=value"),
        (["SHARE=1"], r"unknown key 'SHARE' \(did you mean 'share'\?\)"),
        (["tetx=1"], r"unknown key 'tetx' \(did you mean 'text'\?\)"),
        (["lora_rank=1"], "unknown key 'lora_rank'"),
        (["share=much"], "share='much' is not a number"),
        (["share=1.5"], "share=1.5 must be from 0 to 1"),
        (["share=nan"], "share=nan must be from 0 to 1"),
        (["sizes=1,0"], "sizes=0 must be 1 or more"),
        (["sizes=1,x"], "sizes=.* is not"),
        (["kind=c"], "kind='c' is none of a, b"),
        (["over_write=perhaps"], "over_write='perhaps' is not true or false"),
    ],
)
def test_what_is_wrong_is_said(words, message):
    with pytest.raises(CallError, match=message):
        plain(*words)


@pytest.mark.parametrize(
    "words",
    [["train", "a.json"], ["train:", "a.json"], ["train", "=", "a.json"], ["—train", "a.json"]],
)
def test_a_key_parted_from_its_value_is_put_together(words):
    with pytest.raises(CallError, match=r"'a\.json': write key=value \(train=a\.json\); the help"):
        read_options(words, OneFile)


@pytest.mark.parametrize(
    ("other", "meant"),
    [("model", "model_name_or_path"), ("lr", "learning_rate"), ("dev_ratio", "val_size")],
)
def test_what_others_call_a_key_is_told_by_the_name_it_has_here(other, meant):
    with pytest.raises(CallError, match=rf"unknown key '{other}' \(did you mean '{meant}'\?\)"):
        read_options(["model_name_or_path=base", f"{other}=1"], Recipe)


def test_every_problem_is_told_at_once():
    with pytest.raises(CallError) as caught:
        plain("sharr=1", "share=x", "kind=c", "sizes=0")
    for part in ("'sharr'", "share='x'", "kind='c'", "sizes=0"):
        assert part in str(caught.value)


def test_a_file_with_an_equals_sign_is_a_file_where_files_are_taken(tmp_path):
    path = tmp_path / "a=1.jsonl"
    path.write_text("")
    assert plain(str(path)).files == [str(path)]


def test_the_command_line_overrides_the_recipe(tmp_path):
    recipe = tmp_path / "rank=8.yaml"
    recipe.write_text(
        "model_name_or_path: base\nsteps: 1\nlearning_rate: 1.0e-4\nout: ${learning_rate}\n"
        "names: [a, 'b, c']\n"
    )
    found, call = read_options([str(recipe), "--steps", "2", "lora_rank=4"], Recipe)
    assert found == Recipe(model_name_or_path="base", steps=2, out="0.0001", names='a,"b, c"')
    assert call.recipe == recipe
    assert call.others == {"learning_rate": 1e-4, "lora_rank": 4}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "model_name_or_path is missing: name the model"),
        (["lora_rank={b"], "a value cannot be read"),
        (["lora_rank=${b"], "a value cannot be read"),
        (["lora_rank=0x_"], "a value cannot be read"),
        (["lora_rank=!!bool x"], "a value cannot be read"),
        (["missing.yaml"], r"missing\.yaml cannot be read"),
        (["lora_rnk=8"], r"unknown key 'lora_rnk' \(did you mean 'lora_rank'\?\)"),
        (["names=x", "steps=${x}"], r"steps='\$\{x\}' is not a whole number"),
        (["names=x", "steps=???"], r"steps='\?\?\?' is not a whole number"),
        (["names=x\0"], r"names='x\\x00' holds a zero byte"),
        (["names=x", "steps=true"], "steps='true' is not a whole number"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(words, message):
    with pytest.raises(CallError, match=message):
        read_options(words, Recipe)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "holds no keys"),
        (b"# none\n", "holds no keys"),
        (b"a: [", "cannot be read"),
        (b"\ttab", "cannot be read"),
        (b"a: !!timestamp x", "cannot be read"),
        ("steps: 8\n".encode("utf-16"), "; save it as UTF-8"),
        (b"model_name_or_path: m\nsteps: true\n", "steps=True is not a whole number"),
        (b"model_name_or_path: true\n", "model_name_or_path=True is not text; quote"),
        (b"model_name_or_path: m\nout: {a: b}\n", "out=.* is not text"),
        (b"model_name_or_path: m\nnames: []\n", r"names=\[\] is not text"),
        (b"model_name_or_path: m\nnames: [a, {b: c}]\n", "names=.* is not text"),
    ],
)
def test_a_broken_recipe_is_refused(tmp_path, content, message):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content)
    with pytest.raises(CallError, match=message):
        read_options([str(recipe)], Recipe)


def test_the_hosts_keys_are_its_own_parsers_keys():
    from llamafactory import hparams

    parsers = ("Data", "Finetuning", "Generating", "Model", "Training")
    theirs = {
        field.name
        for parser in parsers
        for field in fields(getattr(hparams, f"{parser}Arguments"))
        if field.init
    }
    assert theirs - host_keys() == set()


def test_the_help_names_every_key_with_its_default():
    text = help_text("show", Plain, "Show it.", "The end.")
    assert (
        "usage: python -m llamafactory_emotion.show [FILE ...] [recipe.yaml] key=value ..." in text
    )
    assert "  kind=a|b                        a kind (default: a)" in text
    for field in fields(Plain):
        assert f"  {field.name}=" in text or field.name == "files"
    assert text.endswith("The end.")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_is_complete(command, capsys):
    assert import_module(f"llamafactory_emotion.{command}.__main__").main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m llamafactory_emotion.{command} ")
    if command == "predict":
        assert all(f"  {field.name}=" in text for field in fields(PredictOptions))


def test_reading_a_call_imports_nothing_heavy():
    code = """
    import sys
    from llamafactory_emotion.predict.__main__ import main
    code = main(["model_name_or_path=m", "inptu=x"])
    print(code, {"torch", "transformers", "llamafactory"} & set(sys.modules))
    """
    run = run_python(code)
    assert run.stdout.split() == ["2", "set()"]
    assert "did you mean 'input'?" in run.stderr
