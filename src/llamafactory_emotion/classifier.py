"""A trained model as an ordinary classifier: a pipeline, a scikit-learn estimator, a function."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.scoring.loading import ModelSource, folder_with
from llamafactory_emotion.task import EMOTION, Task
from llamafactory_emotion.task_choice import KNOWING, Sources, find_task
from llamafactory_emotion.text import HALF_PAIR

if TYPE_CHECKING:
    from llamafactory_emotion.scoring.batches import Scorer, Scores

_NOT_GIVEN = "not given"


class EmotionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify texts with a language model or a classification head; nothing is generated.

    The model is loaded when first used and pickled by path, so a classifier travels to other
    processes; the class itself is what Ray Data's `map_batches` takes.

    Args:
        model: A model folder or hub id; a folder with only an adapter means both. Also a
            sequence classifier, exported or trained, with labels of the task's names.
        adapter: A LoRA adapter's folder or hub id.
        task: A task, the name of a built-in one, or the path of a task's YAML file. By default
            the one that the model was trained for, as far as its folder says it, else emotion.
        labels: Labels to choose from instead of a task, for a model without training.
        template, few_shot, cutoff_len, normalize, calibrate, tokens_per_batch: See
            `scoring.scorer.LabelScorer`.
        dtype, device, quantization_bit: How the model is held; see `scoring.loading.ModelSource`.
        text_column: The column of the texts in a batch of columns (a mapping).

    Attributes:
        classes_: The labels in alphabetical order, as scikit-learn wants the columns of
            `predict_proba`. The task's own order, the ids of its data, may be another.
    """

    _loaded: tuple[Any, Any] = (None, None)  # parameters and the scorer loaded with them
    _found: tuple[Any, Task] = (None, EMOTION)  # the parameters that a task was found by

    def __init__(  # noqa: PLR0913 - scikit-learn reads the parameters off this signature
        self,
        model: str,
        *,
        adapter: str | None = None,
        task: str | Task | None = None,
        labels: Sequence[str] | None = None,
        template: str = "emotion",
        few_shot: Sequence[tuple[str, str]] = (),
        cutoff_len: int = 2048,
        normalize: str = "none",
        calibrate: bool = False,
        dtype: str = "auto",
        device: str | None = None,
        quantization_bit: int | None = None,
        tokens_per_batch: int | None = None,
        text_column: str = "text",
    ) -> None:
        self.model, self.adapter, self.template = model, adapter, template
        self.task, self.labels = task, labels
        self.few_shot, self.cutoff_len = few_shot, cutoff_len
        self.normalize, self.calibrate = normalize, calibrate
        self.dtype, self.device, self.quantization_bit = dtype, device, quantization_bit
        self.tokens_per_batch, self.text_column = tokens_per_batch, text_column

    @classmethod
    def from_pretrained(
        cls, model: str, adapter: str | None = None, task: str | Task | None = None, **options: Any
    ) -> Self:
        """Load a classifier now rather than at its first use; `options` are the class's others."""
        classifier = cls(model, adapter=adapter, task=task, **options)
        classifier.scorer  # noqa: B018 - loads
        return classifier

    @property
    def scorer(self) -> "Scorer":
        """The loaded model; loaded on first use, and anew when a parameter has changed."""
        # Not `get_params`: Ray Data makes a subclass whose signature says nothing.
        names = set(EmotionClassifier._get_param_names()) - {"text_column", "labels"}
        parameters = {name: getattr(self, name) for name in names}
        parameters["task"] = self._task
        if self._loaded[0] != parameters:
            from llamafactory_emotion.scoring.scorer import open_scorer

            self._loaded = (None, None)  # one model in memory, not two
            self._loaded = parameters, open_scorer(**parameters)
        return cast("Scorer", self._loaded[1])

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The labels in alphabetical order."""
        return np.array(sorted(self._task.labels))

    def __call__(self, inputs: Any, *, top_k: int | str | None = _NOT_GIVEN) -> Any:
        """Classify as transformers' text-classification pipeline does, or a batch of columns.

        For a text, returns the `top_k` likeliest (None for all) as a list of `{"label": ...,
        "score": ...}`; for a sequence such a list for each text, or the best alone when `top_k` is
        not given; for a mapping its columns with `predict` and `probabilities`.
        """
        if isinstance(inputs, Mapping):
            return self._classify_columns(inputs)
        texts = [inputs] if isinstance(inputs, str) else inputs
        labels = self.classes_.tolist()
        ranked = [
            [{"label": labels[k], "score": float(row[k])} for k in np.argsort(-row, kind="stable")]
            for row in self.predict_proba(texts)
        ]
        if top_k == _NOT_GIVEN:
            return [row[0] for row in ranked]
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise CallError(f"top_k is {top_k!r}; give a number from 1, or None for all labels.")
        ranked = [row[:top_k] for row in ranked]
        return ranked[0] if isinstance(inputs, str) else ranked

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Do nothing: the model is trained, and scikit-learn wants the method."""
        return self

    def predict(self, X: Sequence[str]) -> NDArray[np.str_]:  # noqa: N803
        """Predict the likeliest label of each text: shape (texts,)."""
        best: NDArray[np.str_] = self.classes_[self.predict_log_proba(X).argmax(axis=1)]
        return best

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """Compute probabilities of shape (texts, labels), columns as in `classes_`.

        Each row sums to 1 over the labels: what the model would say beside them is left out.
        """
        return self._score(X).probabilities[:, np.argsort(self._task.labels)]

    def predict_log_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """Compute the natural logarithms of `predict_proba`, exact where that underflows."""
        return self._score(X).log_probabilities[:, np.argsort(self._task.labels)]

    @property
    def _task(self) -> Task:
        """The task; files are read once."""
        named = (self.task, self.labels, self.model, self.adapter)
        if self._found[0] != named:
            source = ModelSource(self.model)
            models = [folder_with(KNOWING, one, source) for one in (self.adapter, self.model)]
            task, contradiction = find_task(self.task, self.labels, Sources(models=models))
            if contradiction:
                warnings.warn(contradiction, stacklevel=2)
            self._found = named, task
        return self._found[1]

    def _score(self, texts: Sequence[str]) -> "Scores":
        if isinstance(texts, str):
            raise CallError("a single text was given where several are expected; put it in a list.")
        rows = list(texts)
        for number, text in enumerate(rows):
            if not isinstance(text, str) or HALF_PAIR.search(text):
                raise DataError(f"text {number} is {text!r}, not text; drop it or make it text.")
        return self.scorer.score(rows)

    def _classify_columns(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        if self.text_column not in batch:
            raise CallError(
                f"the batch has no column {self.text_column!r}, only {', '.join(map(str, batch))}; "
                "name the texts' column with text_column."
            )
        probabilities = self.predict_proba(batch[self.text_column])
        predict = self.classes_[probabilities.argmax(axis=1)]
        return {**batch, "predict": predict, "probabilities": probabilities}

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded model behind: the other process loads it from its path."""
        return {key: value for key, value in vars(self).items() if key != "_loaded"}
