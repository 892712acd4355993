"""The start-up hook in fresh interpreters: what it costs, when it acts, how it fails."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from programs import ROOT, run_python

START_UP_FILE = ROOT / "src" / "llamafactory_emotion.pth"
TEMPLATE_KNOWN = """
from llamafactory.data.template import TEMPLATES
from llamafactory.data.converter import DATASET_CONVERTERS
print("emotion" in TEMPLATES and "emotion" in DATASET_CONVERTERS)
"""


OFF = {"LLAMAFACTORY_EMOTION_AUTOLOAD": "0"}


@pytest.mark.parametrize(
    ("first", "environment", "known"),
    [
        ("", {}, "True"),
        # LLaMA-Factory is imported by the plug-in itself.
        ("import llamafactory_emotion.plugin.registration", {}, "True"),
        ("", OFF, "False"),
        ("", {"LLAMAFACTORY_EMOTION_AUTOLOAD": "False"}, "False"),
        ("import llamafactory_emotion as e; e.register(); e.register()", OFF, "True"),
    ],
    ids=["by the hook", "plug-in first", "switched off", "off, in words", "by hand, twice"],
)
def test_llamafactory_knows_the_plug_in(first, environment, known):
    result = run_python(first + TEMPLATE_KNOWN, **environment)

    assert result.stdout.splitlines()[-1] == known, result.stderr
    assert "llamafactory_emotion:" not in result.stderr


def test_the_start_up_file_is_one_line_and_imports_only_the_hook():
    assert len(START_UP_FILE.read_text(encoding="utf-8").splitlines()) == 1
    code = f"""
    import os, sys
    sys.path.insert(0, {str(ROOT / "src")!r})
    before = set(sys.modules)
    exec(open({str(START_UP_FILE)!r}).read())
    print(sorted(set(sys.modules) - before))
    """

    result = run_python(code, "-S", "-I")

    assert result.stdout.strip() == "['llamafactory_emotion', 'llamafactory_emotion.autoload']"


def test_a_start_up_file_without_its_package_is_silent():
    result = run_python(f"exec(open({str(START_UP_FILE)!r}).read())", "-S", "-I")

    assert (result.returncode, result.stderr) == (0, "")


def test_a_failing_registration_is_one_warning_and_the_host_goes_on():
    code = """
    import sys

    sys.modules["llamafactory_emotion.plugin.metrics"] = None  # cannot be imported
    from llamafactory.data.template import TEMPLATES
    print("emotion" in TEMPLATES, "llama3" in TEMPLATES)
    """

    result = run_python(code)

    assert result.stdout.splitlines()[-1] == "False True"
    (warning,) = [line for line in result.stderr.splitlines() if "llamafactory_emotion:" in line]
    assert warning.startswith(
        "llamafactory_emotion: not registered with LLaMA-Factory (ModuleNotFoundError: import of"
    )


def test_the_v1_engine_gets_a_warning():
    code = """
    import sys, types
    sys.modules["llamafactory"] = package = types.ModuleType("llamafactory")
    package.__path__ = []
    try:
        import llamafactory.v1
    except ModuleNotFoundError:
        pass
    """

    result = run_python(code)

    assert "does not reach LLaMA-Factory's v1 engine" in result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment_with_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and this one's other packages."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    asked = run_python("import sysconfig; print(sysconfig.get_path('purelib'))", python=python)
    # A bare path in a .pth file adds this environment's packages but not its start-up files.
    host = Path(asked.stdout.strip()) / "zz_host.pth"
    host.write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", wheel],
        check=True,
        timeout=300,
    )
    return python


def test_the_wheel_brings_the_hook(environment_with_wheel: Path):
    code = TEMPLATE_KNOWN + "import llamafactory_emotion; print(llamafactory_emotion.__file__)"

    result = run_python(code, python=environment_with_wheel, PYTHONPATH="")

    known, file = result.stdout.splitlines()[-2:]
    assert known == "True", result.stderr
    assert Path(file).is_relative_to(environment_with_wheel.parents[1])


def test_installed_twice_wheel_and_editable_register_once(environment_with_wheel: Path):
    code = f"import site; site.addsitedir({str(START_UP_FILE.parent)!r})" + TEMPLATE_KNOWN

    result = run_python(code, python=environment_with_wheel, PYTHONPATH="")

    assert result.stdout.splitlines()[-1] == "True", result.stderr
    assert "llamafactory_emotion:" not in result.stderr
