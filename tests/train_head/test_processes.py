"""Training a head in two processes on a CPU, as torchrun starts them."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from head_models import QUICK, read, train, weights, write_base, write_rows

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def test_two_processes_train_the_model_of_one(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", 48)
    base = write_base(tmp_path / "llama", "llama")  # without dropout, which falls as it will
    words = [
        *(f"model_name_or_path={base}", f"train={file}", f"test={file}", *QUICK),
        *("train_sampling_strategy=sequential", "lr_scheduler_type=constant", "use_cpu=true"),
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"),
            *(f"--master_port={port}", "-m", "llamafactory_emotion.train_head", *words),
            *(f"output_dir={tmp_path / 'two'}", "per_device_train_batch_size=4"),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("parameters trained in 3 steps") == 1
    assert json.loads((tmp_path / "two" / "train_head.json").read_text())["world_size"] == 2
    train(*words[:-1], f"output_dir={tmp_path / 'one'}")

    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-5, rtol=1e-4)
    predicted = [read(tmp_path / name / "test_predictions.jsonl") for name in ("one", "two")]
    assert [row["prompt"] for row in predicted[1]] == [row["prompt"] for row in predicted[0]]
