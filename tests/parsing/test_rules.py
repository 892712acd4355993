"""Answers worked out by hand, rule by rule, then properties, bounds and huge answers."""

import dataclasses
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.parsing.rules import REASONS, LabelParser, ParsedAnswer
from llamafactory_emotion.task import EMOTION, Task

FLEXIBLE = LabelParser(EMOTION)
STRICT = LabelParser(EMOTION, match="strict")


def make_task(*labels: str, **aliases: str) -> Task:
    return Task(name="t", labels=labels, instruction="Classify.", aliases=aliases)


def outcome(answer: str, parser: LabelParser = FLEXIBLE) -> str | None:
    """Give the label, or the reason in brackets: one word for the tables."""
    parsed = parser.parse(answer)
    assert (parsed.label is None) != (parsed.reason is None)
    return parsed.label if parsed.label is not None else f"[{parsed.reason}]"


WHOLE = [
    ("joy", "joy"),
    ("JOY", "joy"),
    (" joy\n", "joy"),
    ("Joy.", "joy"),
    ("joy!!!", "joy"),
    ("joy?", "joy"),
    ("**Joy**", "joy"),
    ("**Joy** 😊", "joy"),
    ("❤️ love ❤️", "love"),
    ("_joy_", "joy"),
    ("__joy__", "joy"),
    ("***joy***", "joy"),
    ("~joy~", "joy"),
    ("`joy`", "joy"),
    ("```\njoy\n```", "joy"),
    ("```text\njoy\n```", "joy"),
    ("# Joy", "joy"),
    ("### Joy ###", "joy"),
    ("- joy", "joy"),
    ("* joy", "joy"),
    ("• joy", "joy"),
    ("1. joy", "joy"),
    ("1) joy", "joy"),
    ("a) joy", "joy"),
    ("(joy)", "joy"),
    ("[joy]", "joy"),
    ("{joy}", "joy"),
    ("<joy>", "joy"),
    ("['joy']", "joy"),
    ('"joy"', "joy"),
    ("'joy'", "joy"),
    ("“joy”", "joy"),
    ("‘joy’", "joy"),
    ("„joy“", "joy"),
    ("«joy»", "joy"),
    ("（“joy”）", "joy"),
    ("「悲伤」", "sadness"),
    ("『愤怒』。", "anger"),
    ("【恐惧】", "fear"),
    ("《爱》", "love"),
    ("> joy", "joy"),
    ("| joy |", "joy"),
    ("#joy", "joy"),
    ("happy", "joy"),
    ("Happiness", "joy"),
    ("sad", "sadness"),
    ("Unhappy.", "sadness"),
    ("loving", "love"),
    ("angry!", "anger"),
    ("scared", "fear"),
    ("afraid", "fear"),
    ("surprised", "surprise"),
    ("喜悦", "joy"),
    ("惊讶！", "surprise"),
    ("alegría", "joy"),
    ("Alegri\u0301a", "joy"),
    ("ALEGRÍA", "joy"),
    ("miedo", "fear"),
    ("¡Sorpresa!", "surprise"),
    ("¿ira?", "anger"),
    ("ｊｏｙ", "joy"),
    ("ＪＯＹ！", "joy"),
    ("𝗷𝗼𝘆", "joy"),
    ("j\u200bo\u200by", "joy"),
    ("\ufeffjoy", "joy"),
    ("jo\u00ady", "joy"),
    ("\u202ejoy\u202c", "joy"),
    ("joy\u00a0", "joy"),
    ("\u3000joy", "joy"),
    ("SURPRİSE", "surprise"),
    ("joy\x00", "joy"),
    ("\x1b[1;31mjoy\x1b[0m", "joy"),
    ("j\x1b[0moy", "joy"),
    ("\x1b]8;;https://example.org/love\x07joy\x1b]8;;\x07", "joy"),
    ("\x9b31mjoy", "joy"),
    ("\\njoy\\n", "joy"),
    ('\\"joy\\"', "joy"),
    ("<b>joy</b>", "joy"),
    ("<p>joy</p>", "joy"),
    ("\\boxed{joy}", "joy"),
    ("$\\boxed{\\text{joy}}$", "joy"),
    ("<answer>joy</answer>", "joy"),
    ("▁joy", "joy"),
]

TOKENS = [
    ("joy<|eot_id|>", "joy"),
    ("joy<|end_of_text|>", "joy"),
    ("joy</s>", "joy"),
    ("<s> joy </s>", "joy"),
    ("joy<|im_end|>\n<|im_start|>", "joy"),
    ("joy<|eot_id|>joy", "joy"),
    ("joy<|eot_id|>joy<|eot_id|>joy", "joy"),
    ("joy<|eot_id|>love", "joy"),
    ("<|start_header_id|>assistant<|end_header_id|>\n\njoy<|eot_id|>", "joy"),
    ("<|im_start|>assistant\njoy<|im_end|>", "joy"),
    ("joy<｜end▁of▁sentence｜>", "joy"),
    ("<pad><pad>joy<eos>", "joy"),
    ("joy<0x0A>", "joy"),
    ("joy<end_of_turn>", "joy"),
    ("[INST] classify [/INST] joy", "joy"),
    ("joy<|eot_id", "joy"),
    ("not<|eot_id|>joy", "[no_label]"),
    ("<|eot_id|>", "[empty]"),
    ("</s></s>", "[empty]"),
]

REASONING = [
    ("<think>sad or joy?</think>\njoy", "joy"),
    ("<think>\n\n</think>\n\njoy", "joy"),
    ("<THINK>love</THINK>joy", "joy"),
    ("<think>a</think>joy<think>love</think>", "joy"),
    ("<think>sad <think> love</think> fear</think> joy", "joy"),
    ("It may be love, or fear.</think>joy", "joy"),
    ("<reasoning>love or fear</reasoning><answer>joy</answer>", "joy"),
    ("<thinking>love</thinking>\n**joy**", "joy"),
    ("love<think>a</think>b</think>joy", "joy"),
    ("<think>It is joy", "[unfinished]"),
    ("joy<think>or love", "[unfinished]"),
    ("<think>a</think>joy<think>", "[unfinished]"),
    ("<think>joy</think>", "[empty]"),
    ("joy</think>", "[empty]"),
    ("\uff1cthink\uff1elove\uff1c/think\uff1ejoy", "joy"),
]

JSON = [
    ('{"emotion": "joy"}', "joy"),
    ('{"Emotion": "Joy"}', "joy"),
    ('{"emotion":"joy"}', "joy"),
    ('{"emotion" : " joy "}', "joy"),
    ('{"emotion": "Joy."}', "joy"),
    ('{"emotion": "**joy**"}', "joy"),
    ('{"emotion": "joy 😊"}', "joy"),
    ('{"emotion": "happy"}', "joy"),
    ('{"emotion": "悲伤"}', "sadness"),
    ('{"emotion": "\\u559c\\u60a6"}', "joy"),
    ("{'label': 'joy'}", "joy"),
    ("{'label': 'joy'", "joy"),
    ('{"label": "joy', "joy"),
    ('"label": "joy"', "joy"),
    ("{label: joy}", "joy"),
    ("{label: 'joy'}", "joy"),
    ("{“label”: “joy”}", "joy"),
    ('{"label"：“joy”}', "joy"),
    ('{"label": "joy", "confidence": 0.9}', "joy"),
    ('{"text": "I love it, so sad", "emotion": "joy"}', "joy"),
    ('{"emotion": "joy", "explanation": "no sadness, no fear, love"}', "joy"),
    ('```json\n{"emotion": "joy"}\n```', "joy"),
    ('```json\n{\n  "emotion": "joy",\n  "why": "love"\n}\n```', "joy"),
    ('{\\"label\\": \\"joy\\"}', "joy"),
    ('{\\n  "label": "joy"\\n}', "joy"),
    ('{"result": {"label": "joy", "other": "love"}}', "joy"),
    ('{"emotion": {"label": "joy"}}', "joy"),
    ('{"emotion": "“joy”"}', "joy"),
    ('{"emotion": "(“**joy**”)"}', "joy"),
    ('{"emotion": "_**1. joy**_"}', "joy"),
    ("{'emotion': \"'joy'\"}", "joy"),
    ('{"label": "", "emotion": "joy"}', "joy"),
    ('{"label": "joy" "score": 0.9}', "joy"),
    ('{"label": ["joy"]}', "joy"),
    ('{"label": ["joy", "happy"]}', "joy"),
    ('[{"label": "joy"}]', "joy"),
    ('{"label": "joy"}{"label": "joy"}', "joy"),
    ('{"sentiment": "positive", "emotion": "joy"}', "joy"),
    ('{"answer": "joy"}', "joy"),
    ('{"class": "joy"}', "joy"),
    ('{"category": "joy"}', "joy"),
    ('The answer is {"emotion": "joy"} because sad.', "joy"),
    ('Sadness? {"emotion": "joy"}<|eot_id|>', "joy"),
    ('{"label": "happy and sad"}', "[ambiguous]"),
    ('{"label": "joy or love"}', "[ambiguous]"),
    ('{"label": ["joy", "love"]}', "[ambiguous]"),
    ('{"label": "joy", "emotion": "love"}', "[ambiguous]"),
    ('{"label": "joy"}\n{"label": "love"}', "[ambiguous]"),
    ('{"label": "not joy"}', "[no_label]"),
    ('{"label": "The emotion is joy"}', "[no_label]"),
    ('{"label": "neutral"} joy', "[no_label]"),
    ('{"label": null}', "[no_label]"),
    ('{"label": ""}', "[no_label]"),
    ('{"label": 1}', "[no_label]"),
    ('{"label": true, "text": "joy"}', "[no_label]"),
    ('{"label": []}', "[no_label]"),
    ('{"label": {}}', "[no_label]"),
    ('{"label": "jo', "[no_label]"),
    ('{"label":', "[no_label]"),
    ('{"prediction": "joy"}', "joy"),
    ('{"情感": "喜悦"}', "joy"),
]

MARKERS = [
    ("Answer: joy", "joy"),
    ("answer : joy", "joy"),
    ("ANSWER: JOY", "joy"),
    ("**Answer:** joy", "joy"),
    ("**Answer**: joy", "joy"),
    ("Emotion: joy. Explanation: not anger", "joy"),
    ("sadness, joy, love, anger, fear, surprise. Answer: joy", "joy"),
    ("joy or love? Emotion: love", "love"),
    ("joy or love? Final answer: love.", "love"),
    ("Label: joy\nLabel: love", "love"),
    ("joy or love? Label = love", "love"),
    ("joy or love? predicted_label: love", "love"),
    ("Emotion: sad, angry\nAnswer: fear", "fear"),
    ("joy, love. 答案：愤怒", "anger"),
    ("喜悦还是悲伤？情感：喜悦", "joy"),
    ("喜悦还是悲伤？情感分类：悲伤。", "sadness"),
    ("喜悦还是悲伤？答案是喜悦。", "joy"),
    ("喜悦还是悲伤？答案是：喜悦。", "joy"),
    ("¿alegría o miedo? Respuesta: miedo", "fear"),
    ("¿alegría o miedo? La respuesta es miedo.", "fear"),
    ("¿alegría o miedo? Emoción: miedo", "fear"),
    ("It could be joy or love, but the answer is **fear**.", "fear"),
    ("love or fear <answer>joy</answer>", "joy"),
    ("love or fear \\boxed{joy}", "joy"),
    ("Answer: joy or love", "[ambiguous]"),
    ("joy. Answer:", "joy"),
    ("joy. Answer: it is hard to say", "joy"),
    ("joy, love. Answer:", "[ambiguous]"),
    ("love. Answer: not joy", "love"),
    ("Answer: not joy", "[no_label]"),
    ("love or fear. The answer is not joy", "[ambiguous]"),
    ("Answer: joy, the answer is based on love", "joy"),
    ("love, subclass: joy", "love"),
    ("Answer:", "[no_label]"),
]

WORDS = [
    ("The emotion is joy.", "joy"),
    ("The emotion in the text is **sadness**, since he lost it.", "sadness"),
    ("I think this is fear", "fear"),
    ("joy joy joy", "joy"),
    ("joy\njoy\njoy", "joy"),
    ("joy/happiness", "joy"),
    ("Joy (喜悦)", "joy"),
    ("joy, i.e. happy", "joy"),
    ("sadness (0.92)", "sadness"),
    ("assistant\n\njoy", "joy"),
    ("This is joy's expression", "joy"),
    ("la emoción es alegría", "joy"),
    ("Creo que es tristeza.", "sadness"),
    ("答案是joy。", "joy"),
    ("这段文字表达的情感是愤怒", "anger"),
    ("我爱你", "[no_label]"),
    ("可爱", "love"),
    ("爱好", "love"),
    ("emotion->joy", "joy"),
    ("joy—because it is", "joy"),
    ("return 'joy'", "joy"),
    ("1️⃣ joy", "joy"),
    ("joy and love", "[ambiguous]"),
    ("joy, love", "[ambiguous]"),
    ("love/hate", "[no_label]"),
    ("happy-sad", "[no_label]"),
    ("sadness rather than fear", "[ambiguous]"),
    ("愤怒和悲伤", "[ambiguous]"),
    ("joyless", "[no_label]"),
    ("fearless", "[no_label]"),
    ("unloved", "[no_label]"),
    ("lovely", "[no_label]"),
    ("a miracle, an admiration", "[no_label]"),
    ("joyjoy", "[no_label]"),
    ("joy2", "[no_label]"),
    ("2joy", "[no_label]"),
    ("EmotionJoy", "[no_label]"),
    ("label_joy", "[no_label]"),
    ("joy-filled", "[no_label]"),
    ("self-love", "[no_label]"),
    ("self\u2010love", "[no_label]"),
    ("jo\u0301y", "[no_label]"),
    ("joy\u0335", "[no_label]"),
    ("alegria", "[no_label]"),
    ("jоy", "[no_label]"),  # a Cyrillic o
    ("I cannot say.", "[refusal]"),
    ("neutral", "[no_label]"),
    ("LABEL_1", "[no_label]"),
    ("3", "[no_label]"),
]

NEGATED = [
    ("not joy", "[no_label]"),
    ("NOT joy", "[no_label]"),
    ("not 'joy'", "[no_label]"),
    ("not **joy**", "[no_label]"),
    ("not <b>joy</b>", "[no_label]"),
    ("isn't fear", "[no_label]"),
    ("isn’t fear", "[no_label]"),
    ("isnt fear", "[no_label]"),
    ("doesn't feel any joy", "[no_label]"),
    ("doesn't feel all that joy", "[no_label]"),
    ("not a b joy", "[no_label]"),
    ("not a b c joy", "[no_label]"),
    ("I do not think it is joy", "[no_label]"),
    ("no joy", "[no_label]"),
    ("never love", "[no_label]"),
    ("without fear", "[no_label]"),
    ("cannot be fear", "[no_label]"),
    ("neither joy nor love", "[no_label]"),
    ("neither joy nor love, but surprise", "surprise"),
    ("not joy or love", "[no_label]"),
    ("not sadness but joy", "joy"),
    ("not joy, love", "love"),
    ("not joy. Love.", "love"),
    ("not joy; love", "love"),
    ("not joy: love", "love"),
    ("not joy\nlove", "love"),
    ("not joy (love)", "[no_label]"),
    ("not joy - love", "love"),
    ("not joy — love", "love"),
    ("not joy → love", "love"),
    ("love, not joy", "love"),
    ("joy — not love", "joy"),
    ("It is joy. It isn't love.", "joy"),
    ("no, joy", "joy"),
    ("No. Joy.", "joy"),
    ("not (joy)", "[no_label]"),
    ("not only joy", "joy"),
    ("not just joy", "joy"),
    ("not only joy but love", "[ambiguous]"),
    ("not joy not love joy", "[no_label]"),
    ("nothing but joy", "joy"),
    ("knot joy", "joy"),
    ("no es tristeza sino alegría", "joy"),
    ("No es tristeza, es alegría", "joy"),
    ("ni alegría ni tristeza, sino miedo", "fear"),
    ("sin miedo", "[no_label]"),
    ("no es miedo pero alegría", "joy"),
    ("sin embargo es alegría", "joy"),
    ("no obstante alegría", "joy"),
    ("不是恐惧", "[no_label]"),
    ("不是恐惧，而是愤怒", "anger"),
    ("不是“恐惧”", "[no_label]"),
    ("不是 恐惧", "[no_label]"),
    ("不是fear", "[no_label]"),
    ("没有爱", "[no_label]"),
    ("没有恐惧，只有喜悦", "joy"),
    ("并非喜悦", "[no_label]"),
    ("喜悦，而不是悲伤", "joy"),
    ("不是因为恐惧", "fear"),
    ("不只是恐惧", "fear"),
    ("not 爱", "[no_label]"),
]

EMPTY = [
    ("", "[empty]"),
    ("   \n\t", "[empty]"),
    ("...", "[empty]"),
    ("😊", "[empty]"),
    ("\u200b", "[empty]"),
    ("\x00\x01", "[empty]"),
    ("\ud800", "[empty]"),
    ("\x1b[0m", "[empty]"),
    ("{}", "[empty]"),
]

REFUSALS = [
    ("I'm sorry, but I can't help with that.", "[refusal]"),
    ("I am afraid that is beyond me", "[refusal]"),
    ("I'd be happy to! What text?", "[refusal]"),
    ("As an AI language model, I do not feel love or fear.", "[refusal]"),
    ("Lo siento, no puedo clasificar esto.", "[refusal]"),
    ("Me encantaría ayudarte con amor.", "[refusal]"),
    ("很高兴为您服务！请提供文本。", "[refusal]"),
    ("Je crains de ne pas pouvoir aider.", "[refusal]"),
    ("Ich kann das leider nicht sagen", "[refusal]"),
    ("It is hard to say whether this is fear.", "[refusal]"),
    ("I fear I do not understand", "[refusal]"),
    ("Happy to help! Could you share the text?", "[refusal]"),
]

TURNS = [
    ("sadnessThe text", "sadness"),
    ("joy\nHuman: sadness?\nAssistant: sadness", "joy"),
    ("joy<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nfear", "joy"),
    ("<|assistant|>\njoy", "joy"),
    ("joy [/INST] love", "joy"),
    ("### Response:\njoy\n\n### Instruction:\nfear", "joy"),
    ("joy</s><s>", "joy"),
    ("<｜Assistant｜>joy<｜end▁of▁sentence｜>", "joy"),
    ("joy[|endofturn|]", "joy"),
    ("joy[e~[", "joy"),
    ("joy<role>HUMAN</role>love", "joy"),
    ("<answer>joy</answer> because sadness", "joy"),
]

POSITIONS = [
    ("The answer is joy since the sadness is over.", "joy"),
    ("Emotion: anger\n\nExplanation: fear is not here", "anger"),
    ("Joy - the writer was sad before", "joy"),
    ("**Answer: fear** (there is some anger too)", "fear"),
    ("Based on the text, the emotion is: sadness.", "sadness"),
    ("The emotion expressed in this text is love, as she adores him; no anger.", "love"),
    ("Sure, I'd love to help you. The emotion is joy.", "joy"),
    ("抱歉，我无法判断这段文字的情感是爱还是恐惧", "[ambiguous]"),
    ("joylove", "[no_label]"),
    ("JOYFUL", "joy"),
    ("The speaker sounds angry.", "anger"),
    (
        "The speaker, who was happy to see his old friend at the station after nine long years "
        "abroad, tells of the long voyage",
        "[no_label]",
    ),
    ("Okay, so the emotion here would be fear", "fear"),
    ("Final Answer: The emotion is surprise", "surprise"),
    ("Answer: The final answer is love. I hope it is correct.", "love"),
    ("I think the answer is sadness, or maybe fear", "[ambiguous]"),
    ("sadness or fear", "[ambiguous]"),
    ("1. sadness\n2. joy\n3. love", "[ambiguous]"),
    ("It expresses neither joy nor love.", "[no_label]"),
    ("not joy, love", "love"),
    ("\\boxed{\\text{joy}} sadness", "joy"),
    ('{"emotion": "joy", "reason": "not sadness"}', "joy"),
    ("emotion = joy", "joy"),
    ("Label -> joy", "joy"),
]

TABLES = [
    *REFUSALS,
    *TURNS,
    *POSITIONS,
    *WHOLE,
    *TOKENS,
    *REASONING,
    *JSON,
    *MARKERS,
    *WORDS,
    *NEGATED,
    *EMPTY,
]


@pytest.mark.parametrize(("answer", "expected"), TABLES)
def test_an_answer_is_read_as_the_rules_say(answer, expected):
    assert outcome(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("joy", "joy"),
        ("  JOY\n", "joy"),
        ("Joy.", "[no_label]"),
        ("happy", "[no_label]"),
        ("the answer is joy", "[no_label]"),
        ("joy<|eot_id|>", "[no_label]"),
        ("ｊｏｙ", "[no_label]"),
        (" ", "[empty]"),
    ],
)
def test_strict_is_equality_after_strip_and_case_folding(answer, expected):
    assert outcome(answer, STRICT) == expected


POLARITY = make_task("positive", "very positive", "negative", "not sure")
CHARGES = make_task("盗窃", "故意伤害", "伤害", "掳掠", 抢劫="掳掠")
TOPICS = make_task("Fed | Central Banks", "M&A", "C++", "C", "very_positive", "non-toxic", "toxic")
STARS = make_task("1", "2", "3", "4", "5")
SIGNS = make_task("-1", "0", "1", "+", "😊")
ANSWERS = make_task("yes", "no")
SENTIMENT = make_task("positive", "negative", "neutral")
CHINESE = make_task("正面", "负面", "中性")
SPANISH = make_task("positivo", "negativo", "neutral")
LETTERS = make_task("A", "B", "C", "D")
LANGUAGES = make_task("en", "es", "no", "is", "am", "fr")
SIGNED = make_task("-1", "0", "1")
LEVELS = make_task("Stock", "Bond", "Stock | Up", "Stock | Down")
FLAT = make_task("Sports", "Politics")
INTENTS = make_task("card_lost", "card_stolen", "top_up_failed")
TICKETS = make_task("billing", "bug report", "cancel / refund", "feature request", "other")
BOOLEANS = make_task("true", "false")
GERMAN = make_task("Freude", "Trauer", "Wut")
FRENCH = make_task("joie", "tristesse", "colère")


@pytest.mark.parametrize(
    ("task", "answer", "expected"),
    [
        (POLARITY, "It is very positive.", "very positive"),
        (POLARITY, "**Very  Positive**", "very positive"),
        (POLARITY, "very\npositive", "very positive"),
        (POLARITY, "positive", "positive"),
        (POLARITY, "very positively", "[no_label]"),
        (POLARITY, "not very positive", "[no_label]"),
        (POLARITY, "very positive, not negative", "very positive"),
        (POLARITY, "very positive or positive", "[ambiguous]"),
        (POLARITY, "I am not sure.", "not sure"),
        (CHARGES, "被告人犯盗窃罪。", "盗窃"),
        (CHARGES, "故意伤害罪", "故意伤害"),
        (CHARGES, "本案属于抢劫。", "掳掠"),
        (CHARGES, "抢劫（掳掠）", "掳掠"),
        (CHARGES, "不是盗窃，是抢劫", "掳掠"),
        (CHARGES, "盗窃、抢劫", "[ambiguous]"),
        (CHARGES, "无罪", "[no_label]"),
        (TOPICS, "Fed | Central Banks", "Fed | Central Banks"),
        (TOPICS, "The topic is fed|central banks.", "Fed | Central Banks"),
        (TOPICS, "| Fed \\| Central Banks |", "Fed | Central Banks"),
        (TOPICS, "Central Banks", "[no_label]"),
        (TOPICS, "It is M&A.", "M&A"),
        (TOPICS, "written in C++, I think", "C++"),
        (TOPICS, "written in C, I think", "C"),
        (TOPICS, "**C++**", "C++"),
        (TOPICS, "very\\_positive", "very_positive"),
        (TOPICS, "The text is non-toxic.", "non-toxic"),
        (TOPICS, "The text is non toxic.", "non-toxic"),
        (TOPICS, '{"label": "fed | central banks"}', "Fed | Central Banks"),
        (STARS, "4", "4"),
        (STARS, "4 stars", "4"),
        (STARS, "Rating: 4.", "4"),
        (STARS, "1. 5", "5"),
        (STARS, "- 4", "4"),
        (STARS, "4.5", "[no_label]"),
        (STARS, "1,234", "[no_label]"),
        (STARS, "-4", "[no_label]"),
        (STARS, "14", "[no_label]"),
        (STARS, "3/4", "[ambiguous]"),
        (STARS, '{"label": 4}', "4"),
        (STARS, "４", "4"),
        (STARS, "4️⃣", "4"),
        (SIGNS, "**-1**", "-1"),
        (SIGNS, "\u22121", "-1"),
        (SIGNS, "(1)", "1"),
        (SIGNS, "score -1", "-1"),
        (SIGNS, "+", "+"),
        (SIGNS, "I feel 😊 today", "😊"),
        (ANSWERS, "No.", "no"),
        (ANSWERS, "No, it is not.", "no"),
        (ANSWERS, "Yes and no", "[ambiguous]"),
        (ANSWERS, "not yes", "[no_label]"),
        (SENTIMENT, "评价", "[no_label]"),
        (SENTIMENT, "Sentiment: Positive, confidence: 0.93", "positive"),
        (SENTIMENT, "The sentiment is not negative but positive.", "positive"),
        (SENTIMENT, "Not positive.", "[no_label]"),
        (SENTIMENT, "I would say it's neutral", "neutral"),
        (SENTIMENT, "mixed: positive and negative", "[ambiguous]"),
        (SENTIMENT, "positive/negative", "[ambiguous]"),
        (SENTIMENT, "Positive (not negative)", "positive"),
        (SENTIMENT, "The review is negative, not positive", "negative"),
        (SENTIMENT, "non-positive", "[no_label]"),
        (SENTIMENT, "Positive. User: another review Assistant: negative", "positive"),
        (CHINESE, "分类：负面\n解释：没有正面的内容", "负面"),
        (CHINESE, "答案是负面，因为他不喜欢", "负面"),
        (CHINESE, "这不是正面的评论，而是负面的", "负面"),
        (CHINESE, "情感倾向：中性", "中性"),
        (CHINESE, "这条评论是正面的。", "正面"),
        (CHINESE, "不是正面", "[no_label]"),
        (CHINESE, "对不起，我不能判断", "[refusal]"),
        (CHINESE, "正面和负面都有", "[ambiguous]"),
        (CHINESE, "应为负面。", "负面"),
        (SPANISH, "La respuesta es negativo porque no es positivo", "negativo"),
        (SPANISH, "Sentimiento: positivo", "positivo"),
        (SPANISH, "No es positivo sino negativo", "negativo"),
        (SPANISH, "No puedo responder", "[refusal]"),
        (LETTERS, "The correct option is C.", "C"),
        (LETTERS, "Option (B)", "B"),
        (LETTERS, "A", "A"),
        (LETTERS, "a", "A"),
        (LETTERS, "A.", "A"),
        (LETTERS, "A: because", "A"),
        (LETTERS, "I'd go with D, I think", "D"),
        (LETTERS, "It's a tie", "[no_label]"),
        (LETTERS, "Answer: A", "A"),
        (LETTERS, "The answer is A", "A"),
        (LETTERS, "The answer is a mystery", "[no_label]"),
        (LETTERS, "A text about dogs.", "[no_label]"),
        (LETTERS, "B and C", "[ambiguous]"),
        (LETTERS, "I can't decide between a and b", "[refusal]"),
        (ANSWERS, "Yes", "yes"),
        (ANSWERS, "There is no evidence.", "[no_label]"),
        (ANSWERS, "The answer is no.", "no"),
        (ANSWERS, "I would say no", "no"),
        (ANSWERS, "no idea", "[no_label]"),
        (ANSWERS, "Yes, there is no doubt.", "yes"),
        (LANGUAGES, "en", "en"),
        (LANGUAGES, "This text is in Spanish.", "[no_label]"),
        (LANGUAGES, "The language is es", "es"),
        (LANGUAGES, "I am not sure", "[no_label]"),
        (LANGUAGES, "Language: no", "no"),
        (LANGUAGES, "is", "is"),
        (STARS, "4.0", "4"),
        (STARS, "I'd give it a 4.", "4"),
        (STARS, "Rating: 3 (out of 5)", "3"),
        (STARS, "–1", "[no_label]"),
        (STARS, "4,0", "[no_label]"),
        (SIGNED, "–1", "-1"),
        (SIGNED, "−1", "-1"),
        (SIGNED, "-1.0", "-1"),
        (SIGNED, "+1", "1"),
        (SIGNED, "1", "1"),
        (SIGNED, "Score: -1", "-1"),
        (SIGNED, "The score is –1.", "-1"),
        (LEVELS, "Stock | Sideways", "[no_label]"),
        (LEVELS, "Stock", "Stock"),
        (LEVELS, "Stock | Up", "Stock | Up"),
        (LEVELS, "Answer: Stock | Sideways", "[no_label]"),
        (LEVELS, "The label is Bond", "Bond"),
        (FLAT, "Sports | Football", "[no_label]"),
        (FLAT, "Sports > Tennis", "[no_label]"),
        (FLAT, "| Sports | 0.9 |", "Sports"),
        (FLAT, "Sports: the text is about tennis", "Sports"),
        (FLAT, "Politics/Elections", "[no_label]"),
        (INTENTS, "Card Lost", "card_lost"),
        (INTENTS, "card-stolen", "card_stolen"),
        (INTENTS, "Intent: Top-up failed", "top_up_failed"),
        (INTENTS, "The intent is 'card lost', since ...", "card_lost"),
        (INTENTS, "card lost or card stolen", "[ambiguous]"),
        (TICKETS, "Bug Report", "bug report"),
        (TICKETS, "bug_report", "bug report"),
        (TICKETS, "cancel/refund", "cancel / refund"),
        (TICKETS, "Cancel", "[no_label]"),
        (TICKETS, "refund", "[no_label]"),
        (TICKETS, "Category: Feature-request\nReason: other things", "feature request"),
        (TICKETS, "This is a billing issue.", "billing"),
        (TICKETS, "other", "other"),
        (BOOLEANS, "True", "true"),
        (BOOLEANS, "False.", "false"),
        (BOOLEANS, '{"answer": true}', "true"),
        (GERMAN, "Antwort: Freude, weil keine Trauer", "Freude"),
        (GERMAN, "Das ist keine Freude, sondern Wut", "Wut"),
        (GERMAN, "Nicht Freude", "[no_label]"),
        (FRENCH, "Réponse : joie", "joie"),
        (FRENCH, "L'émotion est la colère", "colère"),
        (FRENCH, "Ce n'est pas la joie", "[no_label]"),
        (make_task("a.b", "a+b(c)", "[x]", "^$", "d|e"), "it is a+b(c)", "a+b(c)"),
        (make_task("a.b", "a+b(c)", "[x]", "^$", "d|e"), "axb", "[no_label]"),
        (make_task("a.b", "a+b(c)", "[x]", "^$", "d|e"), "it is [x]", "[x]"),
        (make_task("Spaß", "Ärger"), "SPASS!", "Spaß"),
        (make_task("กลัว", "รัก"), "ฉันรักคุณ", "รัก"),
        (make_task("प्यार", "डर"), "प्यार।", "प्यार"),
        (make_task("प्यार", "डर"), "प्यारा", "[no_label]"),
        (make_task("喜び", "怒り"), "答えは喜びです", "喜び"),
        (make_task("기쁨", "사랑"), "기쁨.", "기쁨"),
    ],
)
def test_any_label_set_is_read_alike(task, answer, expected):
    assert outcome(answer, LabelParser(task)) == expected


def test_an_unknown_match_rule_is_refused():
    with pytest.raises(CallError, match="write one of strict, flexible"):
        LabelParser(EMOTION, match="contains")


@pytest.mark.parametrize(
    ("answer", "label", "expected"),
    [
        ("joy", "joy", True),
        ("JOY and love", "love", True),
        ("joyless", "joy", True),
        ("not joy", "joy", True),
        ("<think>joy", "joy", True),
        ("ｊｏｙ", "joy", True),
        ("so happy", "joy", True),
        ("unhappy", "joy", False),
        ("admiration", "anger", False),
        ("¡Ira!", "anger", True),
        ("可爱", "love", True),
        ("sad", "joy", False),
        ("", "joy", False),
    ],
)
def test_contains_looks_for_the_gold_label(answer, label, expected):
    assert FLEXIBLE.contains(answer, label) is expected


TICKETS = Task(
    "tickets",
    ("bug report", "cancel / refund", "how-to"),
    "Which?",
    {"defect": "bug report"},
    words={"bug report": "bug", "cancel / refund": "refund", "how-to": "how"},
)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (" bug", "bug report"),
        ("bug report", "bug report"),
        ("Answer: refund", "cancel / refund"),
        ("Answer: cancel / refund", "cancel / refund"),
        ('{"label": "bug"}', "bug report"),
        ("bugThe customer", "bug report"),
        # In prose a word counts as its label does, an alias does not, an ordinary word neither.
        ("The message, as far as I can see, is about a bug.", "bug report"),
        ("The message, as far as I can see, is about a defect.", "[no_label]"),
        ("This is how it is.", "[no_label]"),
        ("how", "how-to"),
        ("Not bug, but refund", "cancel / refund"),
        ("bug or refund", "[ambiguous]"),
        ("debug", "[no_label]"),
    ],
)
def test_an_answer_may_be_a_label_or_its_word(answer, label):
    assert outcome(answer, LabelParser(TICKETS)) == label


def test_a_word_is_strictly_equal_and_contained_as_a_whole_word():
    strict = LabelParser(TICKETS, match="strict")
    assert [strict.parse(one).label for one in ("Bug ", "a bug")] == ["bug report", None]
    parser = LabelParser(TICKETS)
    contained = [
        parser.contains(answer, label)
        for answer in ("no bug, a refund", "debug this, and how")
        for label in TICKETS.labels
    ]
    assert contained == [True, True, False, False, False, False]


def test_contains_knows_aliases_without_spaces():
    parser = LabelParser(CHARGES)
    assert parser.contains("被告人犯抢劫罪", "掳掠")
    assert not parser.contains("被告人犯盗窃罪", "掳掠")


def test_a_parsed_answer_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ParsedAnswer("joy", None).label = "love"


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *EMOTION.labels,
                *EMOTION.aliases,
                *("not ", "no", "n't", "不是", "而是", "but ", ",", ".", "(", " - ", "\n", " "),
                *(
                    "<think>",
                    "</think>",
                    "<|eot_id|>",
                    "</s>",
                    "answer:",
                    "答案是",
                    "the answer is ",
                ),
                *(
                    '{"label":',
                    "'emotion':",
                    '"',
                    "'",
                    "[",
                    "{",
                    "}",
                    "]",
                    "\\",
                    "\\u559c",
                    "\\boxed{",
                ),
                *(
                    "\x1b[",
                    "\x1b]",
                    "\x9b",
                    "```",
                    "**",
                    "\u200b",
                    "\u0301",
                    "\ud800",
                    "\ufdfa",
                    "İ",
                ),
            ]
        ),
        ANY_TEXT,
    ),
    max_size=12,
).map("".join)
SPELLINGS = [*EMOTION.labels, *EMOTION.aliases]


@given(st.one_of(ANY_TEXT, PIECES))
def test_any_text_gives_a_label_of_the_task_or_a_reason(answer):
    for parser in (FLEXIBLE, STRICT):
        parsed = parser.parse(answer)
        assert parsed.label in EMOTION.labels if parsed.reason is None else parsed.label is None
        assert parsed.reason is None or parsed.reason in REASONS
    assert FLEXIBLE.contains(answer, "joy") in (True, False)


@given(st.one_of(ANY_TEXT, PIECES, st.sampled_from([n.upper() + " " for n in SPELLINGS])))
def test_what_strict_accepts_flexible_reads_alike(answer):
    strict = STRICT.parse(answer)
    if strict.label is not None:
        assert FLEXIBLE.parse(answer) == strict


JSON_OPENING = '{"label": "'
DECORATIONS = st.lists(
    st.sampled_from(
        [
            *(("**", "**"), ("_", "_"), ("`", "`"), ("```\n", "\n```"), ('"', '"'), ("“", "”")),
            *(
                ("「", "」"),
                ("(", ")"),
                ("[", "]"),
                ("（", "）"),
                ("- ", ""),
                ("# ", ""),
                ("1. ", ""),
            ),
            *(("", "."), ("", "!"), ("", "。"), ("", " 😊"), ("😢 ", ""), ("", "<|eot_id|>")),
            *(
                ("", "</s>"),
                ("<think>love, fear?</think>", ""),
                ("\x1b[1m", "\x1b[0m"),
                (" ", "\n"),
            ),
            *(("Answer: ", ""), ("答案：", ""), ("\u200b", "\u200b"), (JSON_OPENING, '"}')),
        ]
    ),
    max_size=5,
    unique_by=lambda pair: pair[0] + pair[1],
)


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


@given(st.one_of(ANY_TEXT, PIECES), st.sampled_from(["  ", "\n", "\t", "\u200b"]))
@example("```0", "\n")
@example("```0<|eot_id|>", "\n")
def test_white_space_around_an_answer_changes_nothing(answer, space):
    assert FLEXIBLE.parse(space + answer + space) == FLEXIBLE.parse(answer)


HUGE = 10_000_000
# Each unit is an attempt to make some step look twice at what it has seen.
UNITS = [
    *("{", "'", '"', "[", "<", "**", "\\", "_", "```", "```a", "\x1b", "\x1b[", "\x1b]", "\x9b"),
    *("<think>", "</think>", "<think", "<|", "<|x|>", "answer:", "answer is ", "答案是", "class"),
    *(
        "not ",
        "not joy ",
        "not no ",
        "n't",
        "joy ",
        "joyless ",
        "a ",
        "aaaa",
        "a-",
        "a_",
        "--",
        ", ",
    ),
    *(
        "爱",
        "不爱",
        "no爱爱",
        "不是 ",
        "\u200b",
        "\u0301",
        "\u0301\u0316",
        "é",
        "İ",
        "\ufdfa",
        "\ud800",
    ),
    *('"label":', "{label:", '{label:"', "{'label':\"", '{"label":[', "'label'", "\\u559c", "{ "),
    *("1. ", " ", "\n", "very ", "😀", "\U000e0020", "ﬃ", "\x00"),
]


def seconds(answer: str) -> float:
    start = time.process_time()
    LabelParser(EMOTION).parse(answer)
    return time.process_time() - start


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_time_grows_no_faster_than_length(unit):
    """Sixteen times the length may take sixteen times as long, with room for noise.

    A quadratic step would take 256 times as long. Short times say nothing and are let through.
    """
    short = min(seconds(unit * (10_000 // len(unit))) for _ in range(2))
    long = seconds(unit * (160_000 // len(unit)))
    assert long < max(80 * short, 0.8)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("a" * HUGE + " joy", "[no_label]"),
        ("The quick brown fox. " * (HUGE // 21) + "Answer: joy", "joy"),
        ("joy " + "love " * (HUGE // 5) + "Answer: joy", "joy"),
        ('{"label": "' + "joy " * (HUGE // 4), "[no_label]"),
        ("<think>" + "love " * (HUGE // 5), "[unfinished]"),
        ("very" + " " * HUGE + "sad", "sadness"),
    ],
    ids=lambda value: value[:12],
)
def test_an_answer_of_ten_million_characters(answer, expected):
    start = time.process_time()
    assert outcome(answer) == expected
    assert time.process_time() - start < 20


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_no_bytes_crash_it(content):
    for errors in ("replace", "surrogateescape", "backslashreplace"):
        FLEXIBLE.parse(content.decode("utf-8", errors))
    FLEXIBLE.parse(content.decode("latin-1"))
    FLEXIBLE.parse(content[: len(content) // 2 * 2].decode("utf-16-le", "surrogatepass"))
