"""Answers worked out by hand in one table, then properties, bounds and huge answers."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.parsing.rules import REASONS, LabelParser, contains_label
from llamafactory_emotion.task import EMOTION, Task

FLEXIBLE = LabelParser(EMOTION)
STRICT = LabelParser(EMOTION, match="strict")


def make_task(*labels: str, **aliases: str) -> Task:
    return Task(name="t", labels=labels, instruction="Classify.", aliases=aliases)


POLARITY = make_task("positive", "very positive", "negative", "not sure")
CHARGES = make_task("盗窃", "故意伤害", "伤害", "掳掠", 抢劫="掳掠")
TOPICS = make_task("Fed | Central Banks", "M&A", "C++", "C", "very_positive", "non-toxic", "toxic")
STARS = make_task("1", "2", "3", "4", "5")
SIGNS = make_task("-1", "0", "1", "+", "😊")
ANSWERS = make_task("yes", "no")
PATTERNS = make_task("a.b", "a+b(c)", "[x]", "^$", "d|e")
GERMAN = make_task("Spaß", "Ärger")
THAI = make_task("กลัว", "รัก")
HINDI = make_task("प्यार", "डर")
JAPANESE = make_task("喜び", "怒り")
KOREAN = make_task("기쁨", "사랑")

# A task, the label or [reason], and the answers that are read so; several to a line, by rule.
# fmt: off
CASES: list[tuple[Task, str, *tuple[str, ...]]] = [
    # The whole answer is a name, in any decoration.
    (EMOTION, "joy", "joy", "JOY", " joy\n", "Joy.", "joy!!!", "joy?", "**Joy**", "**Joy** 😊",
      "_joy_", "__joy__", "***joy***", "~joy~", "`joy`", "```\njoy\n```", "```text\njoy\n```",
      "# Joy", "### Joy ###", "- joy", "* joy", "• joy", "1. joy", "1) joy", "a) joy", "(joy)",
      "[joy]", "{joy}", "<joy>", "['joy']", '"joy"', "'joy'", "“joy”", "‘joy’", "„joy“", "«joy»",
      "（“joy”）", "> joy", "| joy |", "#joy", "happy", "Happiness", "喜悦", "alegría",
      "Alegri\u0301a", "ALEGRÍA", "ｊｏｙ", "ＪＯＹ！", "𝗷𝗼𝘆", "j\u200bo\u200by", "\ufeffjoy",
      "jo\xady", "\u202ejoy\u202c", "joy\xa0", "\u3000joy", "joy\x00", "\x1b[1;31mjoy\x1b[0m",
      "j\x1b[0moy", "\x1b]8;;https://example.org/love\x07joy\x1b]8;;\x07", "\x9b31mjoy",
      "\\njoy\\n", '\\"joy\\"', "<b>joy</b>", "<p>joy</p>", "\\boxed{joy}",
      "$\\boxed{\\text{joy}}$", "<answer>joy</answer>", "▁joy"),
    (EMOTION, "love", "❤\ufe0f love ❤\ufe0f", "《爱》", "loving"),
    (EMOTION, "sadness", "「悲伤」", "sad", "Unhappy."),
    (EMOTION, "anger", "『愤怒』。", "angry!", "¿ira?"),
    (EMOTION, "fear", "【恐惧】", "scared", "afraid", "miedo"),
    (EMOTION, "surprise", "surprised", "惊讶！", "¡Sorpresa!", "SURPRİSE"),
    # Special tokens.
    (EMOTION, "joy", "joy<|eot_id|>", "joy<|end_of_text|>", "joy</s>", "<s> joy </s>",
      "joy<|im_end|>\n<|im_start|>", "joy<|eot_id|>joy", "joy<|eot_id|>joy<|eot_id|>joy",
      "<|start_header_id|>assistant<|end_header_id|>\n\njoy<|eot_id|>",
      "<|im_start|>assistant\njoy<|im_end|>", "joy<｜end▁of▁sentence｜>", "<pad><pad>joy<eos>",
      "joy<0x0A>", "joy<end_of_turn>", "[INST] classify [/INST] joy", "joy<|eot_id"),
    (EMOTION, "[empty]", "<|eot_id|>", "</s></s>"),
    # Reasoning.
    (EMOTION, "joy", "<think>sad or joy?</think>\njoy", "<think>\n\n</think>\n\njoy",
      "<THINK>love</THINK>joy", "<think>a</think>joy<think>love</think>",
      "<think>sad <think> love</think> fear</think> joy", "It may be love, or fear.</think>joy",
      "<reasoning>love or fear</reasoning><answer>joy</answer>",
      "<thinking>love</thinking>\n**joy**", "love<think>a</think>b</think>joy",
      "＜think＞love＜/think＞joy"),
    (EMOTION, "[unfinished]", "<think>It is joy", "joy<think>or love",
      "<think>a</think>joy<think>"),
    (EMOTION, "[empty]", "<think>joy</think>", "joy</think>"),
    # JSON, also cut off, quoted otherwise or leaked from a program.
    (EMOTION, "joy", '{"emotion": "joy"}', '{"Emotion": "Joy"}', '{"emotion":"joy"}',
      '{"emotion" : " joy "}', '{"emotion": "Joy."}', '{"emotion": "**joy**"}',
      '{"emotion": "joy 😊"}', '{"emotion": "happy"}', '{"emotion": "\\u559c\\u60a6"}',
      "{'label': 'joy'}", "{'label': 'joy'", '{"label": "joy', '"label": "joy"', "{label: joy}",
      "{label: 'joy'}", "{“label”: “joy”}", '{"label"：“joy”}',
      '{"label": "joy", "confidence": 0.9}', '{"text": "I love it, so sad", "emotion": "joy"}',
      '{"emotion": "joy", "explanation": "no sadness, no fear, love"}',
      '```json\n{"emotion": "joy"}\n```',
      '```json\n{\n  "emotion": "joy",\n  "why": "love"\n}\n```', '{\\"label\\": \\"joy\\"}',
      '{\\n  "label": "joy"\\n}', '{"result": {"label": "joy", "other": "love"}}',
      '{"emotion": {"label": "joy"}}', '{"emotion": "“joy”"}', '{"emotion": "(“**joy**”)"}',
      '{"emotion": "_**1. joy**_"}', "{'emotion': \"'joy'\"}", '{"label": "", "emotion": "joy"}',
      '{"label": "joy" "score": 0.9}', '{"label": ["joy"]}', '{"label": ["joy", "happy"]}',
      '[{"label": "joy"}]', '{"label": "joy"}{"label": "joy"}',
      '{"sentiment": "positive", "emotion": "joy"}', '{"answer": "joy"}', '{"class": "joy"}',
      '{"category": "joy"}', 'The answer is {"emotion": "joy"} because sad.',
      'Sadness? {"emotion": "joy"}<|eot_id|>', '{"prediction": "joy"}', '{"情感": "喜悦"}'),
    (EMOTION, "sadness", '{"emotion": "悲伤"}'),
    (EMOTION, "[ambiguous]", '{"label": "happy and sad"}', '{"label": "joy or love"}',
      '{"label": "happy and sad", "emotion": "joy or love"}',
      '{"label": ["joy", "love"]}', '{"label": "joy", "emotion": "love"}',
      '{"label": "joy"}\n{"label": "love"}'),
    (EMOTION, "[no_label]", '{"label": "not joy"}', '{"label": "The emotion is joy"}',
      '{"label": "neutral"} joy', '{"label": null}', '{"label": ""}', '{"label": 1}',
      '{"label": true, "text": "joy"}', '{"label": []}', '{"label": {}}', '{"label": "jo',
      '{"label":'),
    # Behind the last marker.
    (EMOTION, "joy", "Answer: joy", "answer : joy", "ANSWER: JOY", "**Answer:** joy",
      "**Answer**: joy", "Emotion: joy. Explanation: not anger",
      "sadness, joy, love, anger, fear, surprise. Answer: joy", "喜悦还是悲伤？情感：喜悦",
      "喜悦还是悲伤？答案是喜悦。", "喜悦还是悲伤？答案是：喜悦。",
      "love or fear <answer>joy</answer>", "love or fear \\boxed{joy}", "joy. Answer:"),
    (EMOTION, "love", "joy or love? Emotion: love", "joy or love? Final answer: love.",
      "Label: joy\nLabel: love", "joy or love? Label = love", "joy or love? predicted_label: love",
      "love. Answer: not joy"),
    (EMOTION, "fear", "Emotion: sad, angry\nAnswer: fear", "¿alegría o miedo? Respuesta: miedo",
      "¿alegría o miedo? La respuesta es miedo.", "¿alegría o miedo? Emoción: miedo",
      "It could be joy or love, but the answer is **fear**."),
    (EMOTION, "anger", "joy, love. 答案：愤怒"),
    (EMOTION, "sadness", "喜悦还是悲伤？情感分类：悲伤。"),
    (EMOTION, "[ambiguous]", "Answer: joy or love", "joy, love. Answer:",
      "love or fear. The answer is not joy", "Answer: joy, the answer is based on love",
      "love, subclass: joy"),
    (EMOTION, "[no_label]", "Answer: not joy", "Answer:"),
    # Whole words in a sentence.
    (EMOTION, "joy", "The emotion is joy.", "joy joy joy", "joy\njoy\njoy", "joy/happiness",
      "Joy (喜悦)", "joy, i.e. happy", "assistant\n\njoy", "This is joy's expression",
      "la emoción es alegría", "答案是joy。", "emotion->joy", "joy—because it is", "return 'joy'",
      "1\ufe0f⃣ joy"),
    (EMOTION, "sadness", "The emotion in the text is **sadness**, since he lost it.",
      "sadness (0.92)", "Creo que es tristeza."),
    (EMOTION, "fear", "I think this is fear"),
    (EMOTION, "anger", "这段文字表达的情感是愤怒"),
    (EMOTION, "[ambiguous]", "joy and love", "joy, love", "sadness rather than fear", "愤怒和悲伤"),
    (EMOTION, "[no_label]", "happy-sad", "joyless", "fearless", "unloved", "lovely",
      "a miracle, an admiration", "joyjoy", "joy2", "2joy", "EmotionJoy", "label_joy",
      "joy-filled", "self-love", "self\u2010love", "jo\u0301y", "joy\u0335", "alegria", "j\u043ey",
      "I cannot say.", "neutral", "LABEL_1", "3"),
    # Denied.
    (EMOTION, "[no_label]", "not joy", "NOT joy", "not 'joy'", "not **joy**", "not <b>joy</b>",
      "isn't fear", "isn’t fear", "isnt fear", "doesn't feel any joy", "not a b joy", "no joy",
      "never love", "without fear", "cannot be fear", "neither joy nor love", "not joy or love",
      "not joy not love joy", "sin miedo", "不是恐惧", "不是“恐惧”", "不是 恐惧", "不是fear",
      "没有爱", "并非喜悦", "not 爱"),
    (EMOTION, "surprise", "neither joy nor love, but surprise"),
    (EMOTION, "joy", "not sadness but joy", "joy — not love", "It is joy. It isn't love.",
      "no, joy", "No. Joy.", "not only joy", "not just joy", "nothing but joy", "knot joy",
      "no es tristeza sino alegría", "No es tristeza, es alegría", "no es miedo pero alegría",
      "sin embargo es alegría", "no obstante alegría", "没有恐惧，只有喜悦", "喜悦，而不是悲伤"),
    (EMOTION, "love", "not joy, love", "not joy. Love.", "not joy; love", "not joy: love",
      "not joy\nlove", "not joy (love)", "not joy - love", "not joy — love", "not joy → love",
      "love, not joy"),
    (EMOTION, "[ambiguous]", "not only joy but love"),
    (EMOTION, "fear", "ni alegría ni tristeza, sino miedo", "不只是恐惧"),
    (EMOTION, "anger", "不是恐惧，而是愤怒"),
    # Nothing but signs.
    (EMOTION, "[empty]", "", "   \n\t", "...", "😊", "\u200b", "\x00\x01", "\ud800", "\x1b[0m",
      "{}"),
    # Other label sets.
    (POLARITY, "very positive", "It is very positive.", "**Very  Positive**", "very\npositive",
      "very positive, not negative"),
    (POLARITY, "positive", "positive"),
    (POLARITY, "[no_label]", "very positively", "not very positive"),
    (POLARITY, "[ambiguous]", "very positive or positive"),
    (POLARITY, "not sure", "I am not sure."),
    (CHARGES, "盗窃", "被告人犯盗窃罪。"),
    (CHARGES, "故意伤害", "故意伤害罪"),
    (CHARGES, "掳掠", "本案属于抢劫。", "抢劫（掳掠）", "不是盗窃，是抢劫"),
    (CHARGES, "[ambiguous]", "盗窃、抢劫"),
    (CHARGES, "[no_label]", "无罪"),
    (TOPICS, "Fed | Central Banks", "Fed | Central Banks", "The topic is fed|central banks.",
      "| Fed \\| Central Banks |", '{"label": "fed | central banks"}'),
    (TOPICS, "[no_label]", "Central Banks", "The text is non toxic."),
    (TOPICS, "M&A", "It is M&A."),
    (TOPICS, "C++", "written in C++, I think", "**C++**"),
    (TOPICS, "C", "written in C, I think"),
    (TOPICS, "very_positive", "very\\_positive"),
    (TOPICS, "non-toxic", "The text is non-toxic."),
    (STARS, "4", "4", "4 stars", "Rating: 4.", "- 4", '{"label": 4}', "４", "4\ufe0f⃣"),
    (STARS, "5", "1. 5"),
    (STARS, "[no_label]", "4.5", "1,234", "-4", "14"),
    (STARS, "[ambiguous]", "4/5"),
    (SIGNS, "-1", "**-1**", "\u22121", "score -1"),
    (SIGNS, "1", "(1)"),
    (SIGNS, "+", "+"),
    (SIGNS, "😊", "I feel 😊 today"),
    (ANSWERS, "no", "No.", "No, it is not."),
    (ANSWERS, "[ambiguous]", "Yes and no"),
    (ANSWERS, "[no_label]", "not yes"),
    (PATTERNS, "a+b(c)", "it is a+b(c)"),
    (PATTERNS, "[no_label]", "axb"),
    (PATTERNS, "[x]", "it is [x]"),
    (GERMAN, "Spaß", "SPASS!"),
    (THAI, "รัก", "ฉ\u0e31นร\u0e31กค\u0e38ณ"),
    (HINDI, "प्यार", "प\u094dयार।"),
    (HINDI, "[no_label]", "प\u094dयारा"),
    (JAPANESE, "喜び", "答えは喜びです"),
    (KOREAN, "기쁨", "기쁨."),
]
# fmt: on


def outcome(answer: str, parser: LabelParser = FLEXIBLE) -> str | None:
    parsed = parser.parse(answer)
    assert (parsed.label is None) != (parsed.reason is None)
    return parsed.label or f"[{parsed.reason}]"


@pytest.mark.parametrize(
    ("task", "expected", "answer"),
    [(task, expected, answer) for task, expected, *answers in CASES for answer in answers],
)
def test_an_answer_is_read_as_the_rules_say(task, expected, answer):
    assert outcome(answer, LabelParser(task)) == expected


@pytest.mark.parametrize("answer", ["Joy.", "happy", "it is joy", "joy<|eot_id|>", "ｊｏｙ", " "])
def test_strict_is_equality_after_strip_and_case_folding(answer):
    assert outcome("  JOY\n", STRICT) == "joy"
    assert outcome(answer, STRICT) == ("[no_label]" if answer.strip() else "[empty]")


def test_an_unknown_match_rule_is_refused():
    with pytest.raises(CallError, match="none of strict, flexible"):
        LabelParser(EMOTION, match="contains")


@pytest.mark.parametrize(
    ("task", "label", "holding", "lacking"),
    [
        (EMOTION, "joy", ["joy", "JOY and love", "joyless", "not joy", "<think>joy", "ｊｏｙ"], []),
        (EMOTION, "joy", ["so happy"], ["unhappy", "sad", ""]),
        (EMOTION, "anger", ["¡Ira!"], ["admiration"]),
        (CHARGES, "掳掠", ["被告人犯抢劫罪"], ["被告人犯盗窃罪"]),
    ],
)
def test_contains_looks_for_the_gold_label(task, label, holding, lacking):
    assert [one for one in holding + lacking if contains_label(one, label, task)] == holding


SPELLINGS = [*EMOTION.labels, *EMOTION.aliases]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
# fmt: off
PIECES = st.lists(
    st.sampled_from([
        *SPELLINGS, "not ", "no", "n't", "不是", "而是", "but ", ",", ".", "(", " - ", "\n", " ",
        "<think>", "</think>", "<|eot_id|>", "</s>", "answer:", "答案是", "the answer is ", "\\",
        '{"label":', "'emotion':", '"', "'", "[", "{", "}", "]", "\\u559c", "\\boxed{", "\x1b[",
        "\x1b]", "\x9b", "```", "**", "\u200b", "\u0301", "\ud800", "\ufdfa", "İ",
    ]) | ANY_TEXT,
    max_size=12,
).map("".join)
JSON_OPENING = '{"label": "'
DECORATIONS = st.lists(
    st.sampled_from([
        ("**", "**"), ("_", "_"), ("`", "`"), ("```\n", "\n```"), ('"', '"'), ("“", "”"),
        ("「", "」"), ("(", ")"), ("[", "]"), ("（", "）"), ("- ", ""), ("# ", ""), ("1. ", ""),
        ("", "."), ("", "!"), ("", "。"), ("", " 😊"), ("😢 ", ""), ("", "</s>"),
        ("", "<|eot_id|>"), ("<think>love, fear?</think>", ""), ("\x1b[1m", "\x1b[0m"), (" ", "\n"),
        ("Answer: ", ""), ("答案：", ""), ("\u200b", "\u200b"), (JSON_OPENING, '"}'),
    ]),
    max_size=5,
    unique_by="".join,
)
# fmt: on


@given(ANY_TEXT | PIECES)
def test_any_text_gives_a_label_of_the_task_or_a_reason(answer):
    for parser in (FLEXIBLE, STRICT):
        assert outcome(answer, parser) in (*EMOTION.labels, *(f"[{reason}]" for reason in REASONS))
    assert contains_label(answer, "joy", EMOTION) in (True, False)


@given(ANY_TEXT | PIECES | st.sampled_from([name.upper() + " " for name in SPELLINGS]))
def test_what_strict_accepts_flexible_reads_alike(answer):
    strict = STRICT.parse(answer)
    if strict.label is not None:
        assert FLEXIBLE.parse(answer) == strict


@given(st.sampled_from(SPELLINGS), DECORATIONS, st.sampled_from([str, str.upper, str.title]))
def test_a_name_alone_is_read_in_any_decoration(name, decorations, case):
    answer = case(name)
    for before, after in decorations:
        answer = before + answer + after
    label = EMOTION.aliases.get(name, name)
    # Inside a JSON value a marker is no decoration, and a quote ends the value.
    befores = [before for before, _ in decorations]
    inside = befores[: befores.index(JSON_OPENING)] if JSON_OPENING in befores else []
    hidden = not {'"', "“", "「", "Answer: ", "答案："}.isdisjoint(inside)
    assert FLEXIBLE.parse(answer).label == label or hidden


@given(ANY_TEXT | PIECES, st.sampled_from(["  ", "\n", "\t", "\u200b"]))
@example("```0", "\n")
@example("```0<|eot_id|>", "\n")
def test_white_space_around_an_answer_changes_nothing(answer, space):
    assert FLEXIBLE.parse(space + answer + space) == FLEXIBLE.parse(answer)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_no_bytes_crash_it(content):
    for errors in ("replace", "surrogateescape", "backslashreplace"):
        FLEXIBLE.parse(content.decode("utf-8", errors))
    FLEXIBLE.parse(content.decode("latin-1"))
    FLEXIBLE.parse(content[: len(content) // 2 * 2].decode("utf-16-le", "surrogatepass"))


# Each is an attempt to make some step look twice at what it has seen.
# fmt: off
UNITS = [
    "{", "'", '"', "[", "<", "**", "\\", "_", "```", "```a", "\x1b", "\x1b[", "\x1b]", "\x9b",
    "<think>", "</think>", "<think", "<|", "<|x|>", "answer:", "answer is ", "答案是", "class",
    "not ", "not joy ", "not no ", "n't", "joy ", "joyless ", "a ", "aaaa", "a-", "a_", "--", ", ",
    "爱", "不爱", "no爱爱", "不是 ", "\u200b", "\u0301", "\u0301\u0316", "é", "İ", "ﷺ", "\ud800",
    '"label":', "{label:", '{label:"', "{'label':\"", '{"label":[', "'label'", "\\u559c", "{ ",
    "1. ", " ", "\n", "very ", "😀", "\U000e0020", "ﬃ", "\x00",
]
# fmt: on


def seconds(answer: str) -> float:
    start = time.process_time()
    FLEXIBLE.parse(answer)
    return time.process_time() - start


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_time_grows_no_faster_than_length(unit):
    """Sixteen times the length may take sixteen times as long, with room for noise.

    A quadratic step would take 256 times as long. Short times say nothing and are let through.
    """
    short = min(seconds(unit * (10_000 // len(unit))) for _ in range(2))
    long = seconds(unit * (160_000 // len(unit)))
    assert long < max(80 * short, 0.8)


HUGE = 500_000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("a" * HUGE + " joy", "joy"),
        ("The quick brown fox. " * (HUGE // 21) + "Answer: joy", "joy"),
        ("joy " + "love " * (HUGE // 5) + "Answer: joy", "joy"),
        ('{"label": "' + "joy " * (HUGE // 4), "[no_label]"),
        ("<think>" + "love " * (HUGE // 5), "[unfinished]"),
        ("very" + " " * HUGE + "sad", "sadness"),
    ],
    ids=lambda value: value[:12],
)
def test_an_answer_of_half_a_million_characters(answer, expected):
    assert seconds(answer) < 5
    assert outcome(answer) == expected
