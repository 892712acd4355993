"""The texts of these tests, and the call."""

import pytest
from calls import refused, write_lines
from random_models import TEXTS

from llamafactory_emotion.predict.__main__ import main


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    rows = [{"text": f"{TEXTS[n % 10]} {n * 7919 % 101}", "label": n % 6} for n in range(150)]
    return write_lines(tmp_path_factory.mktemp("texts") / "texts.jsonl", rows)


@pytest.fixture
def predict(model):
    """Call `predict` with the model, unless the words name another; it must succeed."""

    def call(*words):
        assert main([f"model_name_or_path={model}", *map(str, words)]) == 0

    return call


@pytest.fixture
def predict_refuses(model, capsys):
    return lambda *words: refused(main, capsys, f"model_name_or_path={model}", *words)
