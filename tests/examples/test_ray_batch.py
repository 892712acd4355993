"""Two Ray actors give the rows that one process gives."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from programs import ROOT, run_program
from random_models import TEXTS, random_model, tokenizer_of

from llamafactory_emotion.classifier import EmotionClassifier

pytest.importorskip("ray.data", reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.slow

ROWS = 240


def test_two_actors_give_the_rows_of_one_process(tmp_path):
    random_model("llama").save_pretrained(tmp_path / "model")
    tokenizer_of().save_pretrained(tmp_path / "model")
    texts = [f"{TEXTS[number % len(TEXTS)]} {number * 7919 % 101}" for number in range(ROWS)]
    (tmp_path / "texts").mkdir()
    for part in range(4):
        rows = list(range(part * ROWS // 4, (part + 1) * ROWS // 4))
        table = pa.table({"number": rows, "text": [texts[row] for row in rows]})
        pq.write_table(table, tmp_path / "texts" / f"part-{part}.parquet")

    run_program(
        "python", "examples/ray_batch.py", "--model", tmp_path / "model",
        "--input", tmp_path / "texts", "--output", tmp_path / "output",
        "--actors", "2", "--batch-size", "16", "--blocks", "8",
        cwd=ROOT, RAY_DEDUP_LOGS="0", RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1",
    )  # fmt: skip

    found = pq.read_table(tmp_path / "output").sort_by("number")
    classifier = EmotionClassifier(str(tmp_path / "model"))
    assert found["number"].to_pylist() == list(range(ROWS))
    assert found["text"].to_pylist() == texts
    assert found["predict"].to_pylist() == classifier.predict(texts).tolist()
    probabilities = np.array([np.ravel(row) for row in found["probabilities"].to_pylist()])
    np.testing.assert_allclose(probabilities, classifier.predict_proba(texts), atol=1e-5)
