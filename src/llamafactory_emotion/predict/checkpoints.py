"""The checkpoints of a training run: which there are, and each of them in memory, one at a time.

Stands between `predict` and `scoring.scorer`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.predict.options import PredictOptions, names_a_file
from llamafactory_emotion.scoring.loading import ModelSource, find_checkpoints

if TYPE_CHECKING:
    from llamafactory_emotion.scoring.models import LoadedModel


class Models:
    """The model of a call, or of each of its checkpoints; never two of them in memory.

    A base whose adapter is not merged stays in memory from one checkpoint to the next. Release the
    previous model before the next is loaded.

    Args:
        source: The model that the call names.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._loaded: LoadedModel | None = None

    def load(self, checkpoint: Path | None) -> "LoadedModel":
        """Give a checkpoint's model, or the call's own where there is none.

        Raises:
            ModelError: It cannot be loaded.
        """
        from llamafactory_emotion.scoring.heads import find_head
        from llamafactory_emotion.scoring.models import exchange_adapter
        from llamafactory_emotion.scoring.scorer import open_model

        if checkpoint is None:
            self._loaded = self._loaded or open_model(self._source)
            return self._loaded
        source = _checkpoint_source(self._source, checkpoint)
        adapter = source.adapter if find_head(source) is None else None
        last, self._loaded = self._loaded, None
        if last is not None and last.peft_model is not None and adapter is not None:
            self._loaded = exchange_adapter(last, adapter, self._source)
        else:
            del last
            self._loaded = open_model(source)
        return self._loaded


def checkpoint_places(options: PredictOptions) -> dict[Path, Path]:
    """Give every checkpoint of a training run, in the order of its steps, and its output.

    Raises:
        CallError: There is none, or the output is a file.
    """
    folder, output = Path(options.checkpoints or ""), Path(options.place)
    if not folder.is_dir():
        raise CallError(f"checkpoints={folder} is not a folder; name a training run's output_dir.")
    if names_a_file(output):
        raise CallError(f"output={output} must be a folder: each checkpoint gets its own file.")
    found = find_checkpoints(folder)
    if not found:
        raise CallError(f"{folder} holds no checkpoint-<step>; name a training run's output_dir.")
    return {place: output / f"{place.name}.jsonl" for place in found.values()}


def _checkpoint_source(source: ModelSource, checkpoint: Path) -> ModelSource:
    if (checkpoint / "adapter_config.json").is_file():
        return replace(source, adapter=str(checkpoint))
    return replace(source, model=str(checkpoint), adapter=None)
