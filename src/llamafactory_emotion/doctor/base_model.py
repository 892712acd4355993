"""A base model's configuration and tokenizer, loaded when a check first asks; never its weights.

What cannot be loaded is None, and why stands beside it.
"""

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llamafactory_emotion.scoring.loading import hub_problem, is_path


@dataclass
class BaseModel:
    """The model that a recipe names.

    Attributes:
        name: A folder or hub id; empty when none is named.
        options: How it is fetched: `revision`, `cache_dir`, `token`, `trust_remote_code`.
    """

    name: str
    options: Mapping[str, Any]

    @cached_property
    def config(self) -> Any:
        """The model's configuration, or None; `config_problem` says why."""
        return self._model_parts[0]

    @cached_property
    def config_problem(self) -> str | None:
        """Why the configuration cannot be read."""
        return self._model_parts[1]

    @cached_property
    def skeleton(self) -> Any:
        """The model laid out without memory for its weights, or None."""
        import torch
        from transformers import AutoModelForCausalLM

        if self.config is None:
            return None
        try:
            with torch.device("meta"), _silent_transformers():
                return AutoModelForCausalLM.from_config(self.config)
        except (ValueError, ImportError, RuntimeError, AttributeError, TypeError):
            return None

    @cached_property
    def parameters(self) -> int | None:
        """How many parameters the model has, or None where it cannot be laid out."""
        if self.skeleton is None:
            return None
        return int(sum(one.numel() for one in self.skeleton.parameters()))

    @cached_property
    def _model_parts(self) -> tuple[Any, str | None]:
        from transformers import AutoConfig

        return self._loaded(AutoConfig)

    @cached_property
    def _tokenizer_parts(self) -> tuple[Any, str | None]:
        from transformers import AutoTokenizer

        return self._loaded(AutoTokenizer)

    def tokenizer(self) -> Any:
        """Give a fresh copy of the tokenizer, or None: templates change what they are given."""
        return copy.deepcopy(self._tokenizer_parts[0])

    @property
    def tokenizer_problem(self) -> str | None:
        """Why the tokenizer cannot be read."""
        return self._tokenizer_parts[1]

    def _loaded(self, kind: Any) -> tuple[Any, str | None]:
        if not self.name:
            return None, "no model is named"
        if not Path(self.name).is_dir():
            problem = "it is not there" if is_path(self.name) else self._hub_problem
            if problem:
                return None, problem
        with _silent_transformers():
            try:
                return kind.from_pretrained(self.name, **self.options), None
            except Exception as error:
                # For a broken file tokenizers raises a plain exception.
                return None, " ".join(str(error).split())

    @cached_property
    def _hub_problem(self) -> str | None:
        return hub_problem(
            self.name,
            revision=self.options["revision"],
            token=self.options["token"],
            cache_dir=self.options["cache_dir"],
        )

    @cached_property
    def generation_ends(self) -> tuple[int, ...]:
        """The tokens at which the base model's own generation settings stop; empty if unknown."""
        from transformers import GenerationConfig

        if self.config is None:
            return ()
        with _silent_transformers():
            try:
                ends = GenerationConfig.from_pretrained(self.name).eos_token_id
            except (OSError, ValueError):
                return ()
        if ends is None:
            return ()
        return tuple(ends) if isinstance(ends, list) else (ends,)


@contextlib.contextmanager
def _silent_transformers() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
