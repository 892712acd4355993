"""Tell LLaMA-Factory about the template and the dataset formatting `emotion`.

Importing this module registers both. The start-up hook does so once LLaMA-Factory's data package is
loaded, and `llamafactory_emotion.register()` where the hook is off.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llamafactory.data.converter import (
    DATASET_CONVERTERS,
    DatasetConverter,
    register_dataset_converter,
)
from llamafactory.data.formatter import EmptyFormatter, StringFormatter
from llamafactory.data.template import TEMPLATES, Template, register_template

from llamafactory_emotion import __version__
from llamafactory_emotion.errors import DataError, EmotionError
from llamafactory_emotion.plugin.metrics import offer_metrics
from llamafactory_emotion.plugin.record import offer_record
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION

if TYPE_CHECKING:
    from llamafactory.data.formatter import SLOTS
    from transformers import PreTrainedTokenizerBase

NAME = "emotion"
_WORDS_SHOWN = 8


@dataclass
class EmotionTemplate(Template):  # type: ignore[misc]
    """The template `emotion`: instruction, text, a cue; a space, the label, the end token.

    Texts are data. LLaMA-Factory turns the name of a special token inside a text (`<|eot_id|>`)
    into that control token unless the recipe sets `split_special_tokens`, and that setting is saved
    with the tokenizer and then splits the begin token of the chat template as well. So this
    template reads every text as text by itself and keeps the setting out of the saved tokenizer.
    """

    def _convert_elements_to_ids(
        self, tokenizer: "PreTrainedTokenizerBase", elements: "SLOTS"
    ) -> list[int]:
        ids: list[int] = []
        for element in elements:
            if isinstance(element, str):
                ids += tokenizer.encode(
                    element, add_special_tokens=False, split_special_tokens=True
                )
            else:
                ids += super()._convert_elements_to_ids(tokenizer, [element])
        return ids

    def fix_special_tokens(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Prepare the tokenizer as LLaMA-Factory does, then keep it usable by everyone else."""
        super().fix_special_tokens(tokenizer)
        tokenizer.split_special_tokens = False
        tokenizer.init_kwargs.pop("split_special_tokens", None)
        offer_metrics(EmotionTemplate)
        offer_record()


@dataclass
class EmotionConverter(DatasetConverter):  # type: ignore[misc]
    """Turn a row with a text and a label (id or name) into LLaMA-Factory's standard row.

    LLaMA-Factory passes its own column keys only, so a `dataset_info.json` entry names the columns
    `{"prompt": "text", "response": "label"}`. It passes a row's raw values too: an id means its
    place in the task, whatever the data set calls it, and `doctor` tells where the two differ.

    Attributes:
        fingerprint: `datasets` caches rows by the fields of the object that made them and not by
            its code; without this one, rows cached under an older instruction would be used again.
    """

    fingerprint: str = field(init=False, default=f"{__version__}-{EMOTION.fingerprint}")

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Convert one row.

        Raises:
            DataError: The text is missing or empty, or the label is none of the task's.
        """
        columns = self.dataset_attr
        text = example.get(columns.prompt)
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"{columns}: a row has no text in the column {columns.prompt!r} (label "
                f"{example.get(columns.response)!r}); remove the row, or name the text's column in "
                "dataset_info.json."
            )
        return {
            "_prompt": [{"role": "user", "content": EMOTION.user_content(text)}],
            "_response": self._answer(example, text) if columns.response else [],
            "_system": "",
            "_tools": "",
            "_images": None,
            "_videos": None,
            "_audios": None,
        }

    def _answer(self, example: dict[str, Any], text: str) -> list[dict[str, str]]:
        column = self.dataset_attr.response
        label = EMOTION.label_of(example.get(column))
        if label is None:
            known = ", ".join(f"{number} {name}" for number, name in enumerate(EMOTION.labels))
            words = text.split()
            more = " ..." if len(words) > _WORDS_SHOWN else ""
            raise DataError(
                f"{self.dataset_attr}: unknown label {example.get(column)!r} in the column "
                f"{column!r} at the text {' '.join(words[:_WORDS_SHOWN]) + more!r}; write one of "
                f"{known}."
            )
        return [{"role": "assistant", "content": EMOTION.word_of(label)}]


def register() -> None:
    """Register the template and the formatting; what is there already is left as it is.

    Raises:
        EmotionError: Another package has registered a template or a formatting of this name.
    """
    if NAME not in TEMPLATES:
        register_template(
            name=NAME,
            format_user=StringFormatter(slots=["{{content}}" + ANSWER_CUE]),
            # The base model's own end token: a base model has learned it.
            format_assistant=StringFormatter(slots=[ANSWER_PREFIX + "{{content}}", {"eos_token"}]),
            format_system=StringFormatter(slots=["{{content}}\n"]),
            format_prefix=EmptyFormatter(slots=[{"bos_token"}]),
            replace_jinja_template=True,
            template_class=EmotionTemplate,
        )
    if NAME not in DATASET_CONVERTERS:
        register_dataset_converter(NAME, EmotionConverter)
    if not isinstance(TEMPLATES[NAME], EmotionTemplate):
        raise EmotionError(f"another package has registered a template named {NAME!r}; remove one.")
    if DATASET_CONVERTERS[NAME] is not EmotionConverter:
        raise EmotionError(
            f"another package has registered a dataset formatting named {NAME!r}; remove one."
        )


# At import, and not by whoever imports it: when this module is the first to import LLaMA-Factory,
# the hook runs while it is half imported, and there is nothing yet that the hook could call.
register()
