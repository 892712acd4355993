"""Feed the answer parser random bytes and mutated answers, and print how many it took.

Run: python benchmarks/fuzz_parsing.py [--inputs 1000000] [--seed 0]

Half of the inputs are random bytes decoded as a reader may decode them (replacement characters,
lone surrogates, Latin-1, UTF-16); the other half are realistic answers cut, doubled, spliced and
sprinkled with signs that the cleaning looks for. Every input must give a label of the task or a
reason, in a time that fits its length; the first that does not is printed and ends the run with
exit code 1.
"""

import argparse
import random
import sys
import time

from llamafactory_emotion.parsing.rules import REASONS, LabelParser
from llamafactory_emotion.task import EMOTION

# Of processor time: a busy machine is no fault of the parser.
SECONDS_ALLOWED = 2.0
DECODINGS = (
    ("utf-8", "replace"),
    ("utf-8", "surrogateescape"),
    ("utf-8", "backslashreplace"),
    ("latin-1", "strict"),
    ("utf-16-le", "replace"),
    ("utf-16-le", "ignore"),
)
ANSWERS = (
    *EMOTION.labels,
    *EMOTION.aliases,
    "The emotion expressed in the text is **joy**, not sadness.",
    "neither joy nor love, but surprise",
    '```json\n{"emotion": "fear", "confidence": 0.93}\n```',
    "{'label': ['anger'], 'category': {'answer': 'love",
    '{\\"sentiment\\": \\"\\u559c\\u60a6\\"}',
    "<think>It could be love or joy.</think>\n\nAnswer: \\boxed{\\text{joy}}<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\nsadness<|eot_id|>joy</s>",
    "\x1b[1;31mAnger\x1b[0m \x1b]8;;https://example.org\x07link\x1b]8;;\x07",
    "这段文字不是恐惧，而是愤怒。答案：「愤怒」",
    "No es tristeza, sino alegría. La respuesta es alegría.",
    "1. ＪＯＹ 2. s\u200bad 3. I\u0307ra \ufdfa \U0001f600",
    "[INST] sadness, joy, love, anger, fear, surprise [/INST] <answer>fear</answer>",
)
SPRINKLES = (
    *("<think>", "</think>", "<|", "|>", "\x1b[", "\x1b]", "\x9b", "\\u", '\\"', "\\", "```", "**"),
    *('"', "'", "{", "}", "[", "]", ":", "，", "不是", "not ", "n't ", "answer:", '"label":', "\n"),
    *("\u200b", "\u0301", "\ud800", "\x00", "İ", "\ufb03", "\U000e0041", "\u202e", " ", "-", "_"),
)


def random_text(source: random.Random) -> str:
    """Draw up to 200 random bytes and decode them in one of several ways."""
    encoding, errors = source.choice(DECODINGS)
    return source.randbytes(source.randrange(200)).decode(encoding, errors)


def mutated_answer(source: random.Random) -> str:
    """Splice realistic answers and damage them in up to six places."""
    text = "".join(source.choices(ANSWERS, k=source.choice((1, 1, 1, 2, 3))))
    for _ in range(source.randrange(7)):
        start = source.randrange(len(text) + 1)
        end = min(len(text), start + source.randrange(12))
        middle = source.choice(
            ("", text[start:end] * 2, source.choice(SPRINKLES), chr(source.randrange(0x110000)))
        )
        text = text[:start] + middle + text[end if source.random() < 0.5 else start :]
    return text


def problem_of(parser: LabelParser, answer: str) -> str | None:
    """Say what is wrong with the way one answer was taken; None when nothing is."""
    start = time.process_time()
    try:
        parsed = parser.parse(answer)
        parser.contains(answer, EMOTION.labels[0])
    except Exception as error:  # a crash of any kind is what is looked for
        return f"{type(error).__name__}: {error}"
    if time.process_time() - start > SECONDS_ALLOWED:
        return "it took too long"
    labelled = parsed.label in EMOTION.labels and parsed.reason is None
    invalid = parsed.label is None and parsed.reason in REASONS
    return None if labelled or invalid else f"neither a label nor a reason: {parsed}"


def main() -> int:
    """Run the inputs and print their count by outcome."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--inputs", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    source = random.Random(arguments.seed)  # noqa: S311  # no secret is drawn
    parsers = [LabelParser(EMOTION), LabelParser(EMOTION, match="strict")]
    outcomes: dict[str, int] = {}
    for number in range(arguments.inputs):
        answer = random_text(source) if number % 2 else mutated_answer(source)
        for parser in parsers:
            problem = problem_of(parser, answer)
            if problem is not None:
                print(f"input {number}: {problem}\n{answer!a}")
                return 1
        parsed = parsers[0].parse(answer)
        outcome = parsed.label or f"invalid: {parsed.reason}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(f"{arguments.inputs:,} inputs (seed {arguments.seed}), no crash")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:>10,}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
