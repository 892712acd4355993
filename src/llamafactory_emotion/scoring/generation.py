"""Free greedy answers of a language model, for comparison with scored labels."""

from collections.abc import Sequence

import torch

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.batches import make_room_or_raise
from llamafactory_emotion.scoring.prompts import EncodedPrompt
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.scoring.templates import as_ids

_ROWS_PER_BATCH = 32
_USUAL_ANSWER = 8


def answer_tokens(scorer: LabelScorer, asked: int | None) -> int:
    """Return how many tokens an answer may have: what is asked for, or enough for every label.

    What is asked for must do for the words that are trained; a label may be longer than its word.
    """
    longest, label = max(
        (len(ids), label)
        for ids, label in zip(scorer.encoder.label_ids, scorer.task.labels, strict=True)
    )
    if asked is not None and asked < longest:
        raise CallError(
            f"max_new_tokens={asked} cuts off the label {label!r}, which has {longest} tokens; "
            f"give {longest + 1} or more, or leave the key out."
        )
    untrained = max(map(len, scorer.encoder.answer_ids(scorer.task.labels)))
    return asked or max(_USUAL_ANSWER, longest + 1, untrained + 1)


def generate_answers(
    scorer: LabelScorer, prompts: Sequence[EncodedPrompt], *, max_new_tokens: int
) -> list[str]:
    """Generate each prompt's greedy answer, without special tokens, in the order of the prompts."""
    remaining = sorted(range(len(prompts)), key=lambda row: len(prompts[row].ids))
    answers, size = [""] * len(prompts), _ROWS_PER_BATCH
    while remaining:
        longest = scorer.length_class(len(prompts[remaining[-1]].ids))
        last = remaining[-size:]
        rows = [row for row in last if scorer.length_class(len(prompts[row].ids)) == longest]
        try:
            found = _generate(scorer, [prompts[row] for row in rows], max_new_tokens)
        except torch.OutOfMemoryError as error:
            make_room_or_raise(error, len(rows), len(prompts[rows[-1]].ids) + max_new_tokens)
            size = len(rows) // 2
            continue
        for row, answer in zip(rows, found, strict=True):
            answers[row] = answer
        del remaining[-len(rows) :]
    return answers


def _generate(
    scorer: LabelScorer, prompts: Sequence[EncodedPrompt], max_new_tokens: int
) -> list[str]:
    tokenizer, model = scorer.encoder.tokenizer, scorer.loaded.model
    ends = sorted({*scorer.encoder.template.end_ids, *as_ids(tokenizer.eos_token_id)})
    filler = ends[0] if ends else 0
    longest = max(len(prompt.ids) for prompt in prompts)
    gaps = [longest - len(prompt.ids) for prompt in prompts]
    ids = [[filler] * gap + list(p.ids) for gap, p in zip(gaps, prompts, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
    device = scorer.forward.device
    with torch.inference_mode():
        found = model.generate(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            num_beams=1,
            eos_token_id=ends or None,
            pad_token_id=filler,
        )
    answers: list[str] = tokenizer.batch_decode(found[:, longest:], skip_special_tokens=True)
    return answers
