"""A call of `train_head` on a small base, which several of these tests begin with."""

from pathlib import Path

import pytest
from head_models import write_base, write_rows


@pytest.fixture(scope="session")
def gpt2_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 with random weights, to put a head on."""
    return write_base(tmp_path_factory.mktemp("gpt2") / "gpt2", "gpt2")


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight labelled rows, to train a head with."""
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 48)


@pytest.fixture
def call(gpt2_base: Path, rows_file: Path, tmp_path: Path) -> list[str]:
    """The words of a call that trains in `out`."""
    return [
        f"model_name_or_path={gpt2_base}",
        f"train={rows_file}",
        f"output_dir={tmp_path / 'out'}",
    ]
