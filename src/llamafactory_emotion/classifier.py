"""A trained model as an ordinary classifier: like a pipeline, like scikit-learn, like a function.

Stands on `scoring`; `predict` and programs stand on it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import EMOTION, Task, load_task

if TYPE_CHECKING:
    import numpy.typing as npt

    from llamafactory_emotion.scoring.batches import Scorer, Scores

_NOT_GIVEN = "not given"


class _Loaded(NamedTuple):
    """A model in memory and the parameters it was loaded with."""

    parameters: Mapping[str, Any]
    scorer: "Scorer"


class EmotionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify texts with a language model or a classification head; nothing is generated.

    It is loaded when first used and pickled by path, so that it travels to other processes, and as
    a class it is what Ray Data's `map_batches` takes.

    Args:
        model: A model folder or hub id; a folder with only an adapter stands for both. Also a
            sequence classifier, exported or trained, with labels of the task's names.
        adapter: A LoRA adapter's folder or hub id.
        task: A task, the name of a built-in one, or the path of a task's YAML file.
        template: `emotion`, or any other name for the model's own chat template.
        few_shot: Examples (text, label) that are put before every text.
        cutoff_len: The longest prompt and answer in tokens; longer texts are cut.
        normalize: `none`, `tokens` or `bytes`: what labels' log-likelihoods are divided by.
        calibrate: Divide by the probabilities that inputs without content get (zero-shot).
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        device: `cpu`, `cuda`, ...; the first GPU if there is one when None.
        quantization_bit: 8 or 4 to load through bitsandbytes.
        tokens_per_batch: The most tokens of texts in one forward pass.
        text_column: Where a batch of columns (a mapping) has its texts.

    Attributes:
        classes_: The labels in alphabetical order, as scikit-learn wants them: the columns of
            `predict_proba`. (The task's own order, the ids of its data, may be another.)
    """

    def __init__(  # noqa: PLR0913 - scikit-learn reads the parameters off this signature
        self,
        model: str,
        *,
        adapter: str | None = None,
        task: str | Task = EMOTION.name,
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
        self.model = model
        self.adapter = adapter
        self.task = task
        self.template = template
        self.few_shot = few_shot
        self.cutoff_len = cutoff_len
        self.normalize = normalize
        self.calibrate = calibrate
        self.dtype = dtype
        self.device = device
        self.quantization_bit = quantization_bit
        self.tokens_per_batch = tokens_per_batch
        self.text_column = text_column

    @classmethod
    def from_pretrained(
        cls, model: str, adapter: str | None = None, task: str | Task = EMOTION.name, **options: Any
    ) -> Self:
        """Load a classifier now rather than at its first use.

        Args:
            model: A model folder or hub id.
            adapter: A LoRA adapter's folder or hub id.
            task: A task, a built-in one's name, or a task file.
            **options: The other parameters of the class.

        Raises:
            CallError: An option is out of range or the task is not known.
            ModelError: The model, tokenizer or adapter cannot be read or do not fit together.
        """
        classifier = cls(model, adapter=adapter, task=task, **options)
        classifier.scorer  # noqa: B018 - loads
        return classifier

    @property
    def scorer(self) -> "Scorer":
        """The loaded model; loaded on first use, and anew when a parameter has changed."""
        # Not `get_params`: Ray Data makes a subclass whose signature says nothing.
        names = EmotionClassifier._get_param_names()
        parameters = {name: getattr(self, name) for name in names if name != "text_column"}
        parameters["task"] = self._task
        loaded: _Loaded | None = getattr(self, "_loaded", None)
        if loaded is None or loaded.parameters != parameters:
            from llamafactory_emotion.scoring.scorer import open_scorer

            self._loaded = loaded = None  # one model in memory, not two
            loaded = self._loaded = _Loaded(parameters, open_scorer(**parameters))
        return loaded.scorer

    @property
    def classes_(self) -> "npt.NDArray[np.str_]":
        """The labels in alphabetical order."""
        return np.array(sorted(self._task.labels))

    def __call__(self, inputs: Any, *, top_k: int | str | None = _NOT_GIVEN) -> Any:
        """Classify as transformers' text-classification pipeline does, or a batch of columns.

        Args:
            inputs: A text, a sequence of texts, or a mapping of column names to arrays.
            top_k: How many labels to give for each text, None for all, the likeliest first.

        Returns:
            For a text a list of `{"label": ..., "score": ...}`; for a sequence such a list for
            each text, or, when `top_k` is not given, the best label's dictionary alone. For a
            mapping the same columns with `predict` and `probabilities` (one row a text, in the
            order of `classes_`) added.
        """
        if isinstance(inputs, Mapping):
            return self._classify_columns(inputs)
        texts = [inputs] if isinstance(inputs, str) else inputs
        ranked = [self._ranked(row) for row in self.predict_proba(texts)]
        if top_k == _NOT_GIVEN:
            return [row[0] for row in ranked]
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise CallError(f"top_k is {top_k!r}; give a number from 1, or None for all labels.")
        ranked = [row[:top_k] for row in ranked]
        return ranked[0] if isinstance(inputs, str) else ranked

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Do nothing: the model is trained already. scikit-learn wants an estimator to have it."""
        return self

    def predict(self, X: Sequence[str]) -> "npt.NDArray[np.str_]":  # noqa: N803
        """Give the likeliest label of each text: shape (texts,)."""
        best: npt.NDArray[np.str_] = self.classes_[self.predict_log_proba(X).argmax(axis=1)]
        return best

    def predict_proba(self, X: Sequence[str]) -> "npt.NDArray[np.float64]":  # noqa: N803
        """Give probabilities of shape (texts, labels), columns as in `classes_`.

        Each row sums to 1 over the labels: what the model would say beside them is left out.
        """
        return self._score(X).probabilities[:, self._columns]

    def predict_log_proba(self, X: Sequence[str]) -> "npt.NDArray[np.float64]":  # noqa: N803
        """Give the natural logarithms of `predict_proba`, exact where that underflows."""
        return self._score(X).log_probabilities[:, self._columns]

    @property
    def _task(self) -> Task:
        """The task; a file is read once."""
        if isinstance(self.task, Task):
            return self.task
        read: tuple[str, Task] | None = getattr(self, "_read", None)
        if read is None or read[0] != self.task:
            self._read = read = self.task, load_task(self.task)
        return read[1]

    @property
    def _columns(self) -> list[int]:
        labels = self._task.labels
        return sorted(range(len(labels)), key=labels.__getitem__)

    def _score(self, texts: Sequence[str]) -> "Scores":
        if isinstance(texts, str):
            raise CallError("a single text was given where several are expected; put it in a list.")
        rows = list(texts)
        for number, text in enumerate(rows):
            if not isinstance(text, str):
                raise DataError(f"text {number} is {text!r}, not text; drop it or make it text.")
        return self.scorer.score(rows)

    def _ranked(self, probabilities: "npt.NDArray[np.float64]") -> list[dict[str, str | float]]:
        labels = self.classes_
        return [
            {"label": str(labels[index]), "score": float(probabilities[index])}
            for index in np.argsort(-probabilities, kind="stable")
        ]

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
        """Tell scikit-learn that nothing has to be fitted."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded model behind: the other process loads it from its path."""
        return {key: value for key, value in vars(self).items() if key != "_loaded"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the parameters; the model is loaded when first used."""
        self.__dict__.update(state)
