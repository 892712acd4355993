"""Make a small base model of the Llama-3 architecture from nothing but texts.

It stands in for a downloaded base model: the embedded default recipe trains it on a CPU, and every
other recipe is tried on it. What it is made of lies in `tiny`: tokenizer, weights, reading.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from llamafactory_emotion.console import printable, run_command
from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import write_whole_folder
from llamafactory_emotion.task import EMOTION, Task, load_task

EPOCHS = 4


def write_tiny_model(
    texts: Iterable[str],
    output: Path,
    *,
    task: Task = EMOTION,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> str:
    """Build tokenizer and model from `texts` and save both in the folder `output`.

    Args:
        texts: The texts to learn the vocabulary and the language from.
        output: A folder that is not there or empty.
        task: Its instruction and labels become words of the vocabulary.
        epochs: How often the model reads the texts; 0 leaves its weights random.
        seed: Of the weights and the order of reading.

    Returns:
        A sentence that says what was made.

    Raises:
        CallError: `output` holds files already.
        DataError: There is no text.
        ModelError: The vocabulary cannot hold the labels.
        EmotionError: The folder cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CallError(f"{output} exists and is not an empty folder; remove it or name another.")
    texts = list(texts)
    if not texts:
        raise DataError("there is no text to build a vocabulary from; name a file with texts.")
    from llamafactory_emotion.tiny.reading import pretrain
    from llamafactory_emotion.tiny.tokenizer import build_tokenizer
    from llamafactory_emotion.tiny.weights import build_model

    # Begun before the reading: a place that cannot be written is told before minutes of work.
    with write_whole_folder(output) as folder:
        tokenizer = build_tokenizer(texts, task)
        model = build_model(tokenizer, seed=seed)
        loss = pretrain(model, tokenizer, texts, epochs=epochs, seed=seed) if epochs else None
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    trained = "random weights" if loss is None else f"a loss of {loss:.2f} nats a token"
    return f"{output}: a Llama of {model.num_parameters():,} parameters with {trained}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `python -m llamafactory_emotion.tiny_model`."""
    parser = argparse.ArgumentParser(
        prog="python -m llamafactory_emotion.tiny_model", description=__doc__
    )
    parser.add_argument("--texts", nargs="+", required=True, metavar="FILE", help="texts to learn")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--epochs",
        type=int,
        default=EPOCHS,
        help=f"how often to read the texts (default {EPOCHS}); 0 leaves the weights random",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same model (default 0)")
    parser.add_argument("--task", default=EMOTION.name, help="a task's name or YAML file")
    parser.add_argument("--text-column", help="the texts' column, where it cannot be guessed")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _run(arguments: argparse.Namespace) -> int:
    task = load_task(arguments.task)
    texts = (
        text
        for file in arguments.texts
        for _, text, _ in read_texts(file, text_column=arguments.text_column)
    )
    if arguments.epochs < 0:
        raise CallError("--epochs cannot be negative.")
    made = write_tiny_model(
        texts, arguments.output, task=task, epochs=arguments.epochs, seed=arguments.seed
    )
    print(printable(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
