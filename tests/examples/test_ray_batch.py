"""Two Ray actors give the rows that one process gives, even when one of them is killed."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from random_models import TEXTS, random_model, tokenizer_of

from llamafactory_emotion.classifier import EmotionClassifier

pytest.importorskip("ray.data", reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.slow

ROWS = 240
KILLED_ONCE = """
    import os, signal, sys
    from pathlib import Path

    sys.path.insert(0, "examples")
    import ray_batch
    from llamafactory_emotion.classifier import EmotionClassifier


    class KilledOnce(EmotionClassifier):
        \"\"\"Die in the middle of the second batch that any actor takes.\"\"\"

        def __init__(self, **options):
            super().__init__(**options)
            self.batches = 0

        def __call__(self, batch):
            found = super().__call__(batch)
            self.batches += 1
            marker = Path(os.environ["MARKER"])
            if self.batches == 2 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return found


    ray_batch.main(sys.argv[1:], KilledOnce)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    model = folder / "model"
    random_model("llama").save_pretrained(model)
    tokenizer_of().save_pretrained(model)
    texts = [f"{TEXTS[number % len(TEXTS)]} {number * 7919 % 101}" for number in range(ROWS)]
    (folder / "texts").mkdir()
    for part in range(4):
        rows = list(range(part * ROWS // 4, (part + 1) * ROWS // 4))
        table = pa.table({"number": rows, "text": [texts[row] for row in rows]})
        pq.write_table(table, folder / "texts" / f"part-{part}.parquet")
    return folder, texts


def run(program, inputs, output, environment=None):
    folder, _ = inputs
    call = [sys.executable, *program, "--model", str(folder / "model"), "--input"]
    call += [str(folder / "texts"), "--output", str(output), "--actors", "2", "--batch-size", "16"]
    call += ["--blocks", "8"]
    settings = {"RAY_DEDUP_LOGS": "0", "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        call,
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | settings | (environment or {}),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return pq.read_table(output).sort_by("number")


def check_rows(table, inputs):
    folder, texts = inputs
    classifier = EmotionClassifier(str(folder / "model"))
    wanted = classifier.predict_proba(texts)
    assert table["number"].to_pylist() == list(range(ROWS))
    assert table["text"].to_pylist() == texts
    assert table["predict"].to_pylist() == classifier.predict(texts).tolist()
    found = np.array([np.ravel(row) for row in table["probabilities"].to_pylist()])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_two_actors_give_the_rows_of_one_process(inputs, tmp_path):
    check_rows(run(["examples/ray_batch.py"], inputs, tmp_path / "output"), inputs)


def test_an_actor_killed_in_the_middle_costs_no_row(inputs, tmp_path):
    program = tmp_path / "killed_once.py"
    program.write_text(textwrap.dedent(KILLED_ONCE))
    marker = tmp_path / "killed"
    found = run([str(program)], inputs, tmp_path / "output", {"MARKER": str(marker)})
    assert marker.exists()
    check_rows(found, inputs)
