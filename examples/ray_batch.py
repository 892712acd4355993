"""Classify Parquet files of any size with Ray Data: one model an actor, one machine or a cluster.

Needs    pip install 'llamafactory-emotion[ray]'
Command  python examples/ray_batch.py --model saves/emotion_merged --input texts --output answers
Override python examples/ray_batch.py ... --actors 8 --gpus-per-actor 1

On a cluster the same command is run on its head node (`ray job submit -- python ...`) with paths
that every node can reach. An actor that dies is started again and its rows are given out anew. All
columns are kept, the order of the rows is not: have a column that numbers them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, Dataset

from llamafactory_emotion.classifier import EmotionClassifier


def classify(
    dataset: Dataset, options: argparse.Namespace, classifier: type = EmotionClassifier
) -> Dataset:
    """Add the columns `predict` and `probabilities` (in the order of `classes_`)."""
    model: dict[str, Any] = {
        "model": options.model,
        "adapter": options.adapter,
        "task": options.task,
        "text_column": options.text_column,
    }
    return dataset.map_batches(
        classifier,
        fn_constructor_kwargs=model,
        batch_size=options.batch_size,
        compute=ActorPoolStrategy(size=options.actors),
        num_cpus=options.cpus_per_actor or _spare_cpus(options.actors),
        num_gpus=options.gpus_per_actor or None,
        max_restarts=-1,
        max_task_retries=-1,
    )


def _spare_cpus(actors: int) -> float:
    """Return the CPUs an actor may take: one must be left to read and write, or all would wait."""
    free = float(ray.cluster_resources().get("CPU", 1)) - 1
    return min(1.0, max(free, 0.5) / actors)


def main(argv: Sequence[str] | None = None, classifier: type = EmotionClassifier) -> None:
    """Read, classify and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--model", required=True, help="a model folder or hub id")
    add("--adapter", help="a LoRA adapter for it")
    add(
        "--task",
        help="a built-in task or a task's YAML file (default: the model's own, else emotion)",
    )
    add("--input", required=True, help="a Parquet file or a folder of them")
    add("--output", required=True, help="the folder to write Parquet files to")
    add("--text-column", default="text")
    add("--batch-size", type=int, default=1024, help="rows that an actor takes at a time")
    add("--blocks", type=int, help="in how many parts the rows are handed out (Ray's choice)")
    add("--actors", type=int, default=2)
    add("--cpus-per-actor", type=float, help="default: 1, or less where one would not be left")
    add("--gpus-per-actor", type=float, default=0)
    options = parser.parse_args(argv)
    output = Path(options.output)
    if output.is_dir() and any(output.iterdir()):
        # Ray would add files of other names, and nobody could tell the answers apart.
        parser.error(f"{output} holds files; name another folder with --output")
    ray.init(ignore_reinit_error=True)
    dataset = ray.data.read_parquet(options.input, override_num_blocks=options.blocks)
    classify(dataset, options, classifier).write_parquet(options.output)


if __name__ == "__main__":
    main()
