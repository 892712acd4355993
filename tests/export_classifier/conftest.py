"""A model, the folder exported from it, and the call."""

import pytest
from calls import refused, save_model
from exports import export_to

from llamafactory_emotion.export_classifier.__main__ import main


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def exported(base, tmp_path_factory):
    return export_to(tmp_path_factory.mktemp("exported") / "head", base)


@pytest.fixture
def export_refuses(capsys):
    """Call `export_classifier`; it must fail with one sentence."""
    return lambda *words: refused(main, capsys, *words)
