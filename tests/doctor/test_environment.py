"""What is installed: versions, packages that do not import, programs, space, and the hook."""

import shutil
import sysconfig
from types import SimpleNamespace

import pytest
from doctor_calls import NEW_GPU, fail_imports, install, is_told, serious

from llamafactory_emotion.doctor import environment
from llamafactory_emotion.doctor.context import Context, Machine, run_checks

pytestmark = pytest.mark.filterwarnings("ignore")

SAME = {"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.26.0"}


def found(*gpus, **values):
    return run_checks(environment, Context(values, Machine(gpus, cpus=2)))


@pytest.mark.parametrize(
    ("versions", "check", "said"),
    [
        ({"peft": "0.1.0"}, "versions", "does not start: peft>="),
        ({"accelerate": "1.3.0.dev1"}, "versions", "does not start: accelerate>="),
        ({"accelerate": "99.0"}, "versions", "does not start: accelerate>="),
        ({"trl": None}, "versions", "trl is not installed, of "),
        ({"llamafactory": "0.8.0"}, "llamafactory", "0.8.0 is outside"),
        ({"llamafactory": None}, "llamafactory", "is not installed"),
        ({"jieba": None}, "versions", "jieba is not installed, of any version"),
        (dict.fromkeys(SAME), "torch", "torch is not installed"),
    ],
    ids=str,
)
def test_a_version_that_does_not_go_is_found(monkeypatch, versions, check, said):
    fail_imports(monkeypatch)
    install(monkeypatch, **versions)

    assert is_told(found(), check, said, "pip install")


@pytest.mark.parametrize(
    ("versions", "switch"), [(SAME, "0"), ({"accelerate": "99.0"}, "1"), ({"gradio": "99.0"}, "0")]
)
def test_versions_that_the_host_starts_with_are_no_fault(monkeypatch, versions, switch):
    fail_imports(monkeypatch)
    install(monkeypatch, **versions)
    monkeypatch.setenv("DISABLE_VERSION_CHECK", switch)

    assert serious(found(NEW_GPU)) == []


def test_packages_that_do_not_import_are_found(monkeypatch):
    modules = ("torchaudio", "flash_attn", "deepspeed", "bitsandbytes")
    fail_imports(monkeypatch, **dict.fromkeys(modules, "undefined symbol"))
    install(monkeypatch, **SAME, **dict.fromkeys(modules[1:], "0.18.4"))

    failed = [one.check for one in serious(found()) if "undefined symbol" in one.sentence]
    assert failed == ["torch", "compiled", "compiled", "compiled"]


def test_the_hook_is_told_apart(monkeypatch, tmp_path):
    fail_imports(monkeypatch)
    for variable, value, said in (
        ("LLAMAFACTORY_EMOTION_AUTOLOAD", "0", "turns the start-up hook off"),
        ("USE_V1", "1", "v1 engine"),
    ):
        monkeypatch.setenv(variable, value)
        assert is_told(found(), "hook", said, "unset")
        monkeypatch.delenv(variable)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert is_told(found(), "hook", "is not there", "pip")


def test_missing_programs_and_space_are_found(monkeypatch):
    fail_imports(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))

    told = found()

    assert len(serious(told, "launcher")) == 2
    assert is_told(told, "disk", "0.0 GiB left", "free some")


def test_an_output_that_cannot_be_written_is_found_before_the_training(monkeypatch, tmp_path):
    fail_imports(monkeypatch)
    file = tmp_path / "file"
    file.write_text("")
    assert is_told(found(output_dir=str(file / "out")), "output", "is a file and cannot hold")

    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert is_told(found(output_dir=str(tmp_path / "out")), "output", "cannot be written")


def test_an_import_that_crashes_is_told(tmp_path, monkeypatch):
    (tmp_path / "crashing_module.py").write_text("import os; os._exit(3)")
    (tmp_path / "raising_module.py").write_text("raise ImportError('undefined symbol: x')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert environment.import_failure("crashing_module") == "it ends Python with 3"
    assert "undefined symbol: x" in str(environment.import_failure("raising_module"))
    assert environment.import_failure("no_such_module") == "it is not installed"
    assert environment.import_failure("json") is None


def test_what_extras_and_other_pythons_need_is_not_required(monkeypatch):
    lines = ["deepspeed>=0.10; extra == 'deepspeed'", "x>=9; python_version < '3'", "peft>=0.1"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: lines)

    assert environment.required_by("peft").keys() == {"peft"}
    assert environment.required_by("peft", "deepspeed").keys() == {"deepspeed", "peft"}
    assert environment.required_by("no-such-distribution") == {}
