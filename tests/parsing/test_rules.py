"""Answers worked out by hand, rule by rule, then properties, bounds and huge answers."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.parsing.rules import REASONS, LabelParser
from llamafactory_emotion.task import EMOTION, Task

FLEXIBLE = LabelParser(EMOTION)
STRICT = LabelParser(EMOTION, match="strict")


def make_task(*labels: str, **aliases: str) -> Task:
    return Task(name="t", labels=labels, instruction="Classify.", aliases=aliases)


def outcome(answer: str, parser: LabelParser = FLEXIBLE) -> str | None:
    """Return the label, or the reason in brackets: one word for the tables."""
    parsed = parser.parse(answer)
    assert (parsed.label is None) != (parsed.reason is None)
    return parsed.label if parsed.label is not None else f"[{parsed.reason}]"


def pairs_of(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(answer, expected) for expected, answers in table.items() for answer in answers]


# Outcome to the answers that have it.
WHOLE = {
    "joy": [
        *("joy", "JOY", " joy\n", "Joy.", "joy!!!", "joy?", "**Joy**", "**Joy** 😊", "_joy_"),
        *("__joy__", "***joy***", "~joy~", "`joy`", "```\njoy\n```", "```text\njoy\n```", "# Joy"),
        *("### Joy ###", "- joy", "* joy", "• joy", "1. joy", "1) joy", "a) joy", "(joy)", "[joy]"),
        *("{joy}", "<joy>", "['joy']", '"joy"', "'joy'", "“joy”", "‘joy’", "„joy“", "«joy»"),
        *("（“joy”）", "> joy", "| joy |", "#joy", "happy", "Happiness", "喜悦", "alegría"),
        *("Alegri\u0301a", "ALEGRÍA", "ｊｏｙ", "ＪＯＹ！", "𝗷𝗼𝘆", "j\u200bo\u200by", "\ufeffjoy"),
        *("jo\u00ady", "\u202ejoy\u202c", "joy\u00a0", "\u3000joy", "joy\x00"),
        *("\x1b[1;31mjoy\x1b[0m", "j\x1b[0moy"),
        *("\x1b]8;;https://example.org/love\x07joy\x1b]8;;\x07", "\x9b31mjoy", "\\njoy\\n"),
        *('\\"joy\\"', "<b>joy</b>", "<p>joy</p>", "\\boxed{joy}", "$\\boxed{\\text{joy}}$"),
        *("<answer>joy</answer>", "▁joy"),
    ],
    "love": ["❤️ love ❤️", "《爱》", "loving"],
    "sadness": ["「悲伤」", "sad", "Unhappy."],
    "anger": ["『愤怒』。", "angry!", "¿ira?"],
    "fear": ["【恐惧】", "scared", "afraid", "miedo"],
    "surprise": ["surprised", "惊讶！", "¡Sorpresa!", "SURPRİSE"],
}

TOKENS = {
    "joy": [
        *("joy<|eot_id|>", "joy<|end_of_text|>", "joy</s>", "<s> joy </s>"),
        *("joy<|im_end|>\n<|im_start|>", "joy<|eot_id|>joy", "joy<|eot_id|>joy<|eot_id|>joy"),
        *("joy<|eot_id|>love", "<|start_header_id|>assistant<|end_header_id|>\n\njoy<|eot_id|>"),
        *("<|im_start|>assistant\njoy<|im_end|>", "joy<｜end▁of▁sentence｜>", "<pad><pad>joy<eos>"),
        *("joy<0x0A>", "joy<end_of_turn>", "[INST] classify [/INST] joy", "joy<|eot_id"),
        *("<|im_start|>assistant\njoy", "<|im_start|>joy"),
    ],
    "[no_label]": ["not<|eot_id|>joy"],
    "[empty]": ["<|eot_id|>", "</s></s>"],
}

REASONING = {
    "joy": [
        *("<think>sad or joy?</think>\njoy", "<think>\n\n</think>\n\njoy"),
        *("<THINK>love</THINK>joy", "<think>a</think>joy<think>love</think>"),
        "<think>sad <think> love</think> fear</think> joy",
        "It may be love, or fear.</think>joy",
        "<reasoning>love or fear</reasoning><answer>joy</answer>",
        *("<thinking>love</thinking>\n**joy**", "love<think>a</think>b</think>joy"),
        "\uff1cthink\uff1elove\uff1c/think\uff1ejoy",
        # Of gpt-oss, with its tokens and without; of Gemma, Seed, Mistral, Cohere and others.
        "<|channel|>analysis<|message|>love?<|end|><|start|>assistant<|channel|>final<|message|>joy",
        *("analysisLove or fear?assistantfinaljoy", "<|channel>thought\nlove<channel|>joy<turn|>"),
        *("<seed:think>love</seed:think>joy", "[THINK]love[/THINK]joy", "thought\njoy"),
        "<|START_THINKING|>love<|END_THINKING|><|START_RESPONSE|>joy<|END_RESPONSE|>",
        "<|begin_of_thought|>love<|end_of_thought|><|begin_of_solution|>joy<|end_of_solution|>",
        *("<unused94>thought\nlove<unused95>joy", "<analysis>love</analysis>joy"),
        "<think>love</think><response>joy</response>",
    ],
    "[unfinished]": [
        *("<think>It is joy", "joy<think>or love", "<think>a</think>joy<think>"),
        *("<|channel|>analysis<|message|>It is joy", "analysisIt is joy", "[THINK]It is joy"),
        *("<|channel>thought\nIt is joy", "<seed:think>It is joy"),
    ],
    "[empty]": ["<think>joy</think>", "joy</think>"],
}

JSON = {
    "joy": [
        *('{"emotion": "joy"}', '{"Emotion": "Joy"}', '{"emotion":"joy"}', '{"emotion" : " joy "}'),
        *('{"emotion": "Joy."}', '{"emotion": "**joy**"}', '{"emotion": "joy 😊"}'),
        *('{"emotion": "happy"}', '{"emotion": "\\u559c\\u60a6"}', "{'label': 'joy'}"),
        *("{'label': 'joy'", '{"label": "joy', '"label": "joy"', "{label: joy}", "{label: 'joy'}"),
        *("{“label”: “joy”}", '{"label"：“joy”}', '{"label": "joy", "confidence": 0.9}'),
        '{"text": "I love it, so sad", "emotion": "joy"}',
        '{"emotion": "joy", "explanation": "no sadness, no fear, love"}',
        '```json\n{"emotion": "joy"}\n```',
        *('```json\n{\n  "emotion": "joy",\n  "why": "love"\n}\n```', '{\\"label\\": \\"joy\\"}'),
        *('{\\n  "label": "joy"\\n}', '{"result": {"label": "joy", "other": "love"}}'),
        *('{"emotion": {"label": "joy"}}', '{"emotion": "“joy”"}', '{"emotion": "(“**joy**”)"}'),
        *('{"emotion": "_**1. joy**_"}', "{'emotion': \"'joy'\"}"),
        *('{"label": "", "emotion": "joy"}', '{"label": "joy" "score": 0.9}', '{"label": ["joy"]}'),
        *('{"label": ["joy", "happy"]}', '[{"label": "joy"}]', '{"label": "joy"}{"label": "joy"}'),
        *('{"sentiment": "positive", "emotion": "joy"}', '{"answer": "joy"}', '{"class": "joy"}'),
        *('{"category": "joy"}', 'The answer is {"emotion": "joy"} because sad.'),
        *('Sadness? {"emotion": "joy"}<|eot_id|>', '{"prediction": "joy"}', '{"情感": "喜悦"}'),
    ],
    "sadness": ['{"emotion": "悲伤"}'],
    "[ambiguous]": [
        *('{"label": "happy and sad"}', '{"label": "joy or love"}', '{"label": ["joy", "love"]}'),
        *('{"label": "joy", "emotion": "love"}', '{"label": "joy"}\n{"label": "love"}'),
    ],
    "[no_label]": [
        *('{"label": "not joy"}', '{"label": "The emotion is joy"}', '{"label": "neutral"} joy'),
        *('{"label": null}', '{"label": ""}', '{"label": 1}', '{"label": true, "text": "joy"}'),
        *('{"label": []}', '{"label": {}}', '{"label": "jo', '{"label":'),
    ],
}

MARKERS = {
    "joy": [
        *("Answer: joy", "answer : joy", "ANSWER: JOY", "**Answer:** joy", "**Answer**: joy"),
        "Emotion: joy. Explanation: not anger",
        *("sadness, joy, love, anger, fear, surprise. Answer: joy", "喜悦还是悲伤？情感：喜悦"),
        *("喜悦还是悲伤？答案是喜悦。", "喜悦还是悲伤？答案是：喜悦。"),
        *("love or fear <answer>joy</answer>", "love or fear \\boxed{joy}", "joy. Answer:"),
        *("joy. Answer: it is hard to say", "Answer: joy, the answer is based on love"),
        "Emotion: joy\nSecondary emotion: love",
    ],
    "love": [
        "Answer: joy? No, love.",
        *("Emotion(s): love", "Emotion (one word): love", '<span class="joy">love</span>'),
        *("joy or love? Emotion: love", "joy or love? Final answer: love."),
        *("Label: joy\nLabel: love", "joy or love? Label = love"),
        *("joy or love? predicted_label: love", "love. Answer: not joy", "love, subclass: joy"),
    ],
    "fear": [
        *("Emotion: sad, angry\nAnswer: fear", "¿alegría o miedo? Respuesta: miedo"),
        *("¿alegría o miedo? La respuesta es miedo.", "¿alegría o miedo? Emoción: miedo"),
        "It could be joy or love, but the answer is **fear**.",
    ],
    "anger": ["joy, love. 答案：愤怒"],
    "sadness": ["喜悦还是悲伤？情感分类：悲伤。", "{'joy': '0.1', 'sadness': '0.9'}"],
    "[ambiguous]": [
        *("Answer: joy. Correction: love.", "Answer: joy\nWait, it is love."),
        *("Answer: joy,love", "Emotion: joy; love", "Emotion: joy (love)"),
        *(
            "Answer: joy or love",
            "joy, love. Answer:",
            "love or fear. The answer is not joy",
        ),
    ],
    "[no_label]": [
        *("Answer: not joy", "Answer:", "Wrong answer: joy", "Opposite emotion: joy", "joy: false"),
        *('{"joy": false}', "joy = 0.0", "Emotion: joy: no", "joy: 0%", "joy: low, anger: high"),
    ],
}

WORDS = {
    "joy": [
        *("The emotion is joy.", "joy joy joy", "joy\njoy\njoy", "joy/happiness", "Joy (喜悦)"),
        *("joy, i.e. happy", "assistant\n\njoy", "This is joy's expression"),
        *("la emoción es alegría", "答案是joy。", "emotion->joy", "joy—because it is"),
        *("return 'joy'", "1️⃣ joy"),
    ],
    "sadness": [
        *("The emotion in the text is **sadness**, since he lost it.", "sadness (0.92)"),
        "sadness rather than fear",
        "Creo que es tristeza.",
    ],
    "fear": ["I think this is fear"],
    "anger": ["这段文字表达的情感是愤怒"],
    "[no_label]": [
        *("我爱你", "love/hate", "happy-sad", "joyless", "fearless", "unloved", "lovely"),
        *("a miracle, an admiration", "joyjoy", "joy2", "2joy", "EmotionJoy", "label_joy"),
        *("joy-filled", "self-love", "self\u2010love", "jo\u0301y", "joy\u0335", "alegria"),
        *("neutral", "LABEL_1", "3"),
        "jоy",  # a Cyrillic o
    ],
    "love": ["可爱", "爱好"],
    "[ambiguous]": [
        *("joy and love", "joy, love", "愤怒和悲伤", "joy,love,fear"),
        *("joy;love", "joy.love", "joy，爱", "joy=love", "[joy][love]", "joy -> love", "joy! love"),
    ],
    "[refusal]": ["I cannot say."],
}

NEGATED = {
    "[no_label]": [
        *("not joy", "NOT joy", "not 'joy'", "not **joy**", "not <b>joy</b>", "isn't fear"),
        *("isn’t fear", "isnt fear", "doesn't feel any joy", "doesn't feel all that joy"),
        *("not a b joy", "not a b c joy", "I do not think it is joy", "no joy", "never love"),
        *("without fear", "cannot be fear", "neither joy nor love", "not joy or love"),
        *("not joy (love)", "not (joy)", "not joy not love joy", "sin miedo", "不是恐惧"),
        *("不是“恐惧”", "不是 恐惧", "不是fear", "没有爱", "并非喜悦", "not 爱"),
    ],
    "surprise": ["neither joy nor love, but surprise"],
    "joy": [
        *("not sadness but joy", "joy — not love", "It is joy. It isn't love.", "no, joy"),
        *("No. Joy.", "not only joy", "not just joy", "nothing but joy", "knot joy"),
        *("no es tristeza sino alegría", "No es tristeza, es alegría", "no es miedo pero alegría"),
        *("sin embargo es alegría", "no obstante alegría", "没有恐惧，只有喜悦"),
        "喜悦，而不是悲伤",
    ],
    "love": [
        *("not joy, love", "not joy. Love.", "not joy; love", "not joy: love", "not joy\nlove"),
        *("not joy - love", "not joy — love", "not joy → love", "love, not joy"),
    ],
    "[ambiguous]": ["not only joy but love"],
    "fear": ["ni alegría ni tristeza, sino miedo", "不是因为恐惧", "不只是恐惧"],
    "anger": ["不是恐惧，而是愤怒"],
}

EMPTY = {
    "[empty]": ["", "   \n\t", "...", "😊", "\u200b", "\x00\x01", "\ud800", "\x1b[0m", "{}"],
}

REFUSALS = {
    "[refusal]": [
        *("I'm sorry, but I can't help with that.", "I am afraid that is beyond me"),
        *("I'd be happy to! What text?", "As an AI language model, I do not feel love or fear."),
        *("Lo siento, no puedo clasificar esto.", "Me encantaría ayudarte con amor."),
        *("很高兴为您服务！请提供文本。", "Je crains de ne pas pouvoir aider."),
        *("Ich kann das leider nicht sagen", "It is hard to say whether this is fear."),
        *("I fear I do not understand", "Happy to help! Could you share the text?"),
        *("What a joy to hear from you! Paste your text.", "Love to help! Please paste the text."),
        *("With love, your assistant. Please send the text.", "It's a joy to meet you!"),
        *("¡Qué alegría! ¿Qué texto quieres clasificar?", "I'd love more context."),
        *("Con alegría te ayudo, envíame el texto.", "Será una alegría ayudarte."),
        *("Tengo miedo de no poder ayudarte.", "I would love for you to share it."),
    ],
}

TURNS = {
    "sadness": ["sadnessThe text"],
    "joy": [
        "joy\nHuman: sadness?\nAssistant: sadness",
        *("joy<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nfear", "<|assistant|>\njoy"),
        *("joy [/INST] love", "### Response:\njoy\n\n### Instruction:\nfear", "joy</s><s>"),
        *("<｜Assistant｜>joy<｜end▁of▁sentence｜>", "joy[|endofturn|]", "joy[e~["),
        *("joy<role>HUMAN</role>love", "<answer>joy</answer> because sadness"),
    ],
}

POSITIONS = {
    "joy": [
        *("The answer is joy since the sadness is over.", "Joy - the writer was sad before"),
        *("Sure, I'd love to help you. The emotion is joy.", "JOYFUL"),
        *("\\boxed{\\text{joy}} sadness", '{"emotion": "joy", "reason": "not sadness"}'),
        *("emotion = joy", "Label -> joy"),
    ],
    "anger": ["Emotion: anger\n\nExplanation: fear is not here", "The speaker sounds angry."],
    "fear": [
        *("**Answer: fear** (there is some anger too)", "Okay, so the emotion here would be fear"),
    ],
    "sadness": [
        *("Based on the text, the emotion is: sadness.", "I'd be happy to help. It is sadness."),
    ],
    "love": [
        "The emotion expressed in this text is love, as she adores him; no anger.",
        *("Answer: The final answer is love. I hope it is correct.", "not joy, love"),
    ],
    "[ambiguous]": [
        "抱歉，我无法判断这段文字的情感是爱还是恐惧",
        *("I think the answer is sadness, or maybe fear", "sadness or fear"),
        *("1. sadness\n2. joy\n3. love", "joy\nas he says\nlove"),
        "so he went on. " * 30 + "There was joy, there was love, he said",
    ],
    "[no_label]": [
        "joylove",
        "The speaker, who was happy to see his old friend at the station after nine long years "
        "abroad, tells of the long voyage",
        "It expresses neither joy nor love.",
    ],
    "surprise": ["Final Answer: The emotion is surprise"],
}

TABLES = [
    *(WHOLE, TOKENS, REASONING, JSON, MARKERS, WORDS, NEGATED, EMPTY, REFUSALS, TURNS, POSITIONS),
]


@pytest.mark.parametrize(
    ("answer", "expected"), [pair for table in TABLES for pair in pairs_of(table)]
)
def test_an_answer_is_read_as_the_rules_say(answer, expected):
    assert outcome(answer) == expected


STRICTLY = {
    "joy": ["joy", "  JOY\n"],
    "[no_label]": ["Joy.", "happy", "the answer is joy", "joy<|eot_id|>", "ｊｏｙ"],
    "[empty]": [" "],
}


@pytest.mark.parametrize(("answer", "expected"), pairs_of(STRICTLY))
def test_strict_is_equality_after_strip_and_case_folding(answer, expected):
    assert outcome(answer, STRICT) == expected


# Labels to outcomes, and those to the answers that have them.
OF_TASKS = {
    ("positive", "very positive", "negative", "not sure"): {
        "very positive": [
            *("It is very positive.", "**Very  Positive**", "very\npositive"),
            "very positive, not negative",
        ],
        "positive": ["positive"],
        "[no_label]": ["very positively", "not very positive"],
        "[ambiguous]": ["very positive or positive"],
        "not sure": ["I am not sure."],
    },
    ("Fed | Central Banks", "M&A", "C++", "C", "very_positive", "non-toxic", "toxic"): {
        "Fed | Central Banks": [
            *("Fed | Central Banks", "The topic is fed|central banks."),
            *("| Fed \\| Central Banks |", '{"label": "fed | central banks"}'),
        ],
        "[no_label]": ["Central Banks"],
        "M&A": ["It is M&A."],
        "C++": ["written in C++, I think", "**C++**"],
        "C": ["written in C, I think"],
        "very_positive": ["very\\_positive"],
        "non-toxic": ["The text is non-toxic.", "The text is non toxic."],
    },
    ("1", "2", "3", "4", "5"): {
        "4": [
            *("4", "4 stars", "Rating: 4.", "- 4", '{"label": 4}', "４", "4️⃣", "4.0"),
            *("I'd give it a 4.", "4/5", "4 out of 5"),
        ],
        "5": ["1. 5"],
        "2": ["1: 0.1, 2: 0.9"],
        "[no_label]": ["4.5 stars", "4.5", "1,234", "-4", "14", "–1", "4,0"],
        "[ambiguous]": ["3/4"],
        "3": ["Rating: 3 (out of 5)"],
    },
    ("-1", "0", "1", "+", "😊"): {
        "-1": ["**-1**", "\u22121", "score -1"],
        "1": ["(1)"],
        "+": ["+"],
        "😊": ["I feel 😊 today"],
    },
    ("yes", "no"): {
        "no": ["No.", "No, it is not.", "The answer is no.", "I would say no"],
        "[ambiguous]": ["Yes and no"],
        "[no_label]": ["not yes", "There is no evidence.", "no idea"],
        "yes": ["Yes", "Yes, there is no doubt."],
    },
    ("positive", "negative", "neutral"): {
        "[no_label]": ["评价", "Not positive.", "non-positive"],
        "positive": [
            "Sentiment: Positive, confidence: 0.93",
            *("The sentiment is not negative but positive.", "Positive (not negative)"),
            "Positive. User: another review Assistant: negative",
        ],
        "neutral": ["I would say it's neutral"],
        "[ambiguous]": ["mixed: positive and negative", "positive/negative"],
        "negative": ["The review is negative, not positive"],
    },
    ("正面", "负面", "中性"): {
        "负面": [
            *("分类：负面\n解释：没有正面的内容", "答案是负面，因为他不喜欢"),
            *("这不是正面的评论，而是负面的", "应为负面。"),
        ],
        "中性": ["情感倾向：中性"],
        "正面": ["这条评论是正面的。"],
        "[no_label]": ["不是正面"],
        "[refusal]": ["对不起，我不能判断"],
        "[ambiguous]": ["正面和负面都有"],
    },
    ("positivo", "negativo", "neutral"): {
        "negativo": [
            *("La respuesta es negativo porque no es positivo", "No es positivo sino negativo"),
        ],
        "positivo": ["Sentimiento: positivo"],
        "[refusal]": ["No puedo responder", "I try to stay neutral on such topics."],
    },
    ("A", "B", "C", "D"): {
        "C": ["The correct option is C."],
        "B": ["Option (B)"],
        "A": ["A", "a", "A.", "A: because", "Answer: A", "The answer is A"],
        "D": ["I'd go with D, I think", "The answer is (D) a nurse."],
        "[no_label]": [
            *(
                "It's a tie",
                "The answer is a mystery",
                "A text about dogs.",
                "Answer: A car moves.",
            ),
            *("A+", "B-", "C#"),
        ],
        "[ambiguous]": ["B and C"],
        "[refusal]": ["I can't decide between a and b"],
    },
    ("en", "es", "no", "is", "am", "fr"): {
        "en": ["en"],
        "[no_label]": ["This text is in Spanish.", "I am not sure"],
        "es": ["The language is es"],
        "no": ["Language: no"],
        "is": ["is"],
    },
    ("1", "01"): {"01": ["01"]},
    ("-1", "0", "1"): {
        "-1": ["–1", "−1", "-1.0", "Score: -1", "The score is –1."],
        "1": ["+1", "1"],
    },
    ("Stock", "Bond", "Stock | Up", "Stock | Down"): {
        "[no_label]": ["Stock | Sideways", "Answer: Stock | Sideways"],
        "Stock": ["Stock"],
        "Stock | Up": ["Stock | Up"],
        "Bond": ["The label is Bond"],
    },
    ("Sports", "Politics"): {
        "[no_label]": ["Sports | Football", "Sports > Tennis", "Politics/Elections"],
        "Sports": ["| Sports | 0.9 |", "Sports: the text is about tennis"],
    },
    ("card_lost", "card_stolen", "top_up_failed"): {
        "card_lost": ["Card Lost", "The intent is 'card lost', since ..."],
        "card_stolen": ["card-stolen"],
        "top_up_failed": ["Intent: Top-up failed"],
        "[ambiguous]": ["card lost or card stolen"],
    },
    ("billing", "bug report", "cancel / refund", "feature request", "other"): {
        "bug report": ["Bug Report", "bug_report"],
        "cancel / refund": ["cancel/refund"],
        "[no_label]": ["Cancel", "refund"],
        "feature request": ["Category: Feature-request\nReason: other things"],
        "billing": ["This is a billing issue."],
        "other": ["other"],
    },
    ("true", "false"): {
        "true": ["True", '{"answer": true}'],
        "false": ["False."],
    },
    ("Freude", "Trauer", "Wut"): {
        "Freude": ["Antwort: Freude, weil keine Trauer"],
        "Wut": ["Das ist keine Freude, sondern Wut"],
        "[no_label]": ["Nicht Freude"],
        "[refusal]": [
            *("Mit Freude helfe ich Ihnen! Bitte senden Sie den Text.", "Ich habe Angst davor."),
            "Es wäre mir eine Freude, Ihnen zu helfen.",
        ],
    },
    ("joie", "tristesse", "colère"): {
        "joie": ["Réponse : joie"],
        "colère": ["L'émotion est la colère"],
        "[no_label]": ["Ce n'est pas la joie"],
        "[refusal]": ["J'ai peur de ne pas pouvoir répondre.", "Ce serait une joie de vous aider."],
    },
    ("a.b", "a+b(c)", "[x]", "^$", "d|e"): {
        "a+b(c)": ["it is a+b(c)"],
        "[no_label]": ["axb"],
        "[x]": ["it is [x]"],
    },
    # Another sub-class, in whatever way the labels write theirs.
    ("Ship", "Ship - Sail", "Train"): {
        "[no_label]": ["Ship - Rowing", "Ship – Rowing", "The label is Ship - Night rowing."],
        "Ship": ["Ship", "Ship - it says so itself", "Ship. Surely."],
        "Ship - Sail": ["ship – sail", "Answer: Ship - Sail"],
        "Train": ["Train."],
    },
    ("Ship", "Ship (Sail)", "St. Ives", "Paris"): {
        "[no_label]": ["Ship (Rowing)"],
        "Ship (Sail)": ["ship (sail)"],
        "Paris": ["Paris. Surely."],
    },
    ("Food & Drink", "Food"): {"Food": ["Food"], "[no_label]": ["Food and Wine", "Food & Wine"]},
    ("Ship", "Train"): {"[no_label]": ["Ship → Rowing", "Ship -> Rowing", "Ship::Rowing"]},
    ("N,W", "S,E", "N,W,C"): {
        "N,W": ["N, W", "Answer: N,W"],
        "N,W,C": ["N,W,C"],
        "[no_label]": ["S,E,R", "Answer: S,E,R"],
        "[ambiguous]": ["N,W,S,E"],
    },
    ("utility:clock", "card/lost", "late_refund?"): {
        "utility:clock": ["Utility: clock"],
        "card/lost": ["card / lost"],
        "late_refund?": ["Late refund", "late_refund?"],
        "[no_label]": ["clock"],
    },
    ("😀", "😡", "🇩🇪", "🇫🇷", "👨", "👩", "❤️"): {
        "[ambiguous]": ["😀 😡", "😀😡", "🇩🇪🇫🇷"],
        "😡": ["😡😡", "The mood is 😡."],
        "❤️": ["❤"],
        "[empty]": ["👨‍👩‍👧", "❤️‍🔥", "👩‍🚀"],
    },
    ("★★", "★★★"): {"★★": ["★★", "**★★**"], "[empty]": ["★★★★", "★"]},
    ("★", "★★", "★★★"): {"★": ["★"], "★★★": ["★★★"], "[empty]": ["★★★★"]},
    ("+", "-", "?"): {
        "-": ["-", "Answer: -", '{"label": "-"}'],
        "+": ["The answer is +."],
        "[no_label]": ["Well-known", "What is it?"],
        "[ambiguous]": ["+/-"],
    },
    ("А", "Б", "В"): {"[no_label]": ["В тексте грусть."], "Б": ["Б", "Ответ: Б"]},
    ("Spaß", "Ärger"): {"Spaß": ["SPASS!"]},
    ("กลัว", "รัก"): {"รัก": ["คำตอบคือรัก"], "[no_label]": ["ฉันรักคุณ"]},
    ("प्यार", "डर"): {
        "प्यार": ["प्यार।"],
        "[no_label]": ["प्यारा"],
    },
    ("喜び", "怒り"): {"喜び": ["答えは喜びです"]},
    ("question", "answer"): {"question": ["Answer: question", '{"answer": "question"}']},
    ("negative", "positive"): {
        "negative": ["Sentiment: negative\nReason: long wait, nothing positive."],
        "[ambiguous]": ["Sentiment: negative (wait, positive)", "negative. Oh wait, positive"],
    },
    ("Sports", "World"): {
        "Sports": [
            "This falls under Sports",
            "If forced to choose, Sports.",
            "Actual topic: Sports",
        ]
    },
    ("기쁨", "사랑"): {"기쁨": ["기쁨."]},
}
CHARGES = make_task("盗窃", "故意伤害", "伤害", "掳掠", 抢劫="掳掠")
OF_CHARGES = {
    "盗窃": ["被告人犯盗窃罪。"],
    "故意伤害": ["故意伤害罪"],
    "掳掠": ["本案属于抢劫。", "抢劫（掳掠）", "不是盗窃，是抢劫"],
    "[ambiguous]": ["盗窃、抢劫"],
    "[no_label]": ["无罪"],
}


@pytest.mark.parametrize(
    ("task", "answer", "expected"),
    [
        *((make_task(*one), *pair) for one, table in OF_TASKS.items() for pair in pairs_of(table)),
        *((CHARGES, *pair) for pair in pairs_of(OF_CHARGES)),
    ],
)
def test_any_label_set_is_read_alike(task, answer, expected):
    assert outcome(answer, LabelParser(task)) == expected


def test_an_unknown_match_rule_is_refused():
    with pytest.raises(CallError, match="write one of strict, flexible"):
        LabelParser(EMOTION, match="contains")


# Gold label to the answers that contain it, and to some that do not.
CONTAINED = {
    "joy": ["joy", "joyless", "not joy", "<think>joy", "ｊｏｙ", "so happy"],
    "love": ["JOY and love", "可爱"],
    "anger": ["¡Ira!"],
}
NOT_CONTAINED = {"joy": ["unhappy", "sad", ""], "anger": ["admiration"]}


@pytest.mark.parametrize(
    ("answer", "label", "expected"),
    [
        *((*pair, True) for pair in pairs_of(CONTAINED)),
        *((*pair, False) for pair in pairs_of(NOT_CONTAINED)),
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


# In prose a word counts as its label does, an alias does not, an ordinary word neither.
OF_TICKETS = {
    "bug report": [
        *(" bug", "bug report", '{"label": "bug"}', "bugThe customer"),
        "The message, as far as I can see, is about a bug.",
    ],
    "cancel / refund": [
        *("Answer: refund", "Answer: cancel / refund", "Not bug, but refund"),
    ],
    "how-to": ["how"],
    "[no_label]": [
        *("The message, as far as I can see, is about a defect.", "This is how it is.", "debug"),
    ],
    "[ambiguous]": ["bug or refund"],
}


@pytest.mark.parametrize(("answer", "label"), pairs_of(OF_TICKETS))
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


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *EMOTION.labels,
                *EMOTION.aliases,
                *("not ", "no", "n't", "不是", "而是", "but ", ",", ".", "(", " - ", "\n", " "),
                *("<think>", "</think>", "<|eot_id|>", "</s>", "answer:", "答案是"),
                "the answer is ",
                *('{"label":', "'emotion':", '"', "'", "[", "{", "}", "]", "\\", "\\u559c"),
                "\\boxed{",
                *("\x1b[", "\x1b]", "\x9b", "```", "**", "\u200b", "\u0301", "\ud800", "\ufdfa"),
                "İ",
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
            *(("「", "」"), ("(", ")"), ("[", "]"), ("（", "）"), ("- ", ""), ("# ", "")),
            ("1. ", ""),
            *(("", "."), ("", "!"), ("", "。"), ("", " 😊"), ("😢 ", ""), ("", "<|eot_id|>")),
            *(("", "</s>"), ("<think>love, fear?</think>", ""), ("\x1b[1m", "\x1b[0m")),
            (" ", "\n"),
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


HUGE = 1_000_000
# Each unit is an attempt to make some step look twice at what it has seen.
UNITS = [
    *("{", "'", '"', "[", "<", "**", "\\", "_", "```", "```a", "\x1b", "\x1b[", "\x1b]", "\x9b"),
    *("<think>", "</think>", "<think", "<|", "<|x|>", "answer:", "answer is ", "答案是", "class"),
    *("not ", "not joy ", "not no ", "n't", "joy ", "joyless ", "a ", "aaaa", "a-", "a_", "--"),
    ", ",
    *("爱", "不爱", "no爱爱", "不是 ", "\u200b", "\u0301", "\u0301\u0316", "é", "İ", "\ufdfa"),
    "\ud800",
    *('"label":', "{label:", '{label:"', "{'label':\"", '{"label":[', "'label'", "\\u559c", "{ "),
    *("1. ", " ", "\n", "very ", "😀", "\U000e0020", "ﬃ", "\x00"),
]


def seconds(answer: str) -> float:
    start = time.process_time()
    LabelParser(EMOTION).parse(answer)
    return time.process_time() - start


@pytest.mark.parametrize(
    ("unit", "end"),
    [*((unit, "") for unit in UNITS), ("\nx" + "\n" * 998, "y z"), ("answer: joy? ", "!" * 99_999)],
    ids=lambda text: ascii(text[:20]),
)
def test_time_grows_no_faster_than_length(unit, end):
    """Sixteen times the length may take sixteen times as long, with room for noise.

    A quadratic step would take 256 times as long. Short times say nothing and are let through.
    """
    short = min(seconds(unit * (10_000 // len(unit)) + end[:6_000]) for _ in range(2))
    long = seconds(unit * (160_000 // len(unit)) + end)
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
def test_an_answer_of_a_million_characters(answer, expected):
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
