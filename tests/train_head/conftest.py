"""A call of `train_head` on a small base, which several of these tests begin with."""

from pathlib import Path

import pytest
from head_models import write_base, write_rows


@pytest.fixture(scope="session")
def gpt2_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("gpt2") / "gpt2", "gpt2")


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 48)


@pytest.fixture
def call(gpt2_base: Path, rows_file: Path, tmp_path: Path) -> list[str]:
    return [
        f"model_name_or_path={gpt2_base}",
        f"train={rows_file}",
        f"output_dir={tmp_path / 'out'}",
    ]
