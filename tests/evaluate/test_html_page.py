"""The HTML report: complete, bounded, and nothing of a file can act in it."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from evaluations import PAYLOADS, evaluations_of, row
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_emotion.evaluate.html_page import page_html, shown
from llamafactory_emotion.task import Task

# What the skeleton is made of; anything else would have come from a file.
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer"),
    *("h1", "h2", "h3", "p", "div", "span", "b", "em", "small", "bdi", "a", "ul", "ol", "li"),
    *("label", "input", "output", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td"),
    *("figure", "figcaption", "details", "summary", "svg", "rect", "path", "text", "polyline"),
    "script",
}


class Reader(HTMLParser):
    """Collects the elements, attributes and texts of a page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_data(self, data):
        if self.elements[-1:] not in (["style"], ["script"]):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def page_of(tmp_path, files, **options):
    return page_html(*evaluations_of(tmp_path, files, **options))


def probabilities(top, label="joy"):
    labels = ("sadness", "joy", "love", "anger", "fear", "surprise")
    return {one: top if one == label else (1 - top) / 5 for one in labels}


def test_all_that_is_known_of_a_file_is_shown(tmp_path):
    (tmp_path / "p.meta.json").write_text('{"model": "some/base", "trained_parameters": 1234567}')
    rows = [row("joy", "joy"), row("joy", "love"), row("fear", "no idea"), {"label": "joy"}]

    page = page_of(tmp_path, {"p.jsonl": rows}, skip_broken=True, match="all")

    text = read(page).text
    assert "macro-F1 0.1111 no interval: a label has fewer than two gold rows" in text
    for said in (
        "accuracy 0.3333 95 % interval 0.0615 to 0.7923",
        "invalid answers 1 33.33 %",
        "rows 3 task emotion, match flexible",
        "majority baseline 0.6667 always joy",
        "broken rows 1 left out",
        'left out: 1 have no "predict"',
        "invalid because: no_label 1",
        "no gold rows: sadness , love , anger , surprise (counted",
        "match rules",
        "model some/base trained parameters 1,234,567",
    ):
        assert said in text


def test_the_matrix_shades_shares_and_leads_to_the_answers(tmp_path):
    rows = [row("joy", "joy")] * 7 + [row("joy", "love")] * 2 + [row("joy", "no idea")]

    page = page_of(tmp_path, {"p.jsonl": rows})

    cells = re.findall(r'<td class="(\w+) heat(\d+)">(.*?)</td>', page)
    assert len(cells) == 6 * 7
    joy = cells[7:14]
    assert [int(level) for _, level, _ in joy] == [0, 7, 2, 0, 0, 0, 1]
    assert [kind for kind, _, _ in joy] == ["wrong", "right", *["wrong"] * 4, "invalid"]
    assert joy[1][2] == "7<small>70.0 %</small>"
    assert joy[2][2] == '<a href="#q=joy%20%E2%86%92%20love">2</a><small>20.0 %</small>'
    assert joy[6][2].startswith('<a href="#q=joy%20%E2%86%92%20invalid">1</a>')
    assert joy[0][2] == "0"
    answers = read(page).text
    assert answers.count("joy → love") == 2
    assert answers.count("joy → invalid") == 1


def test_charts_are_drawn_where_there_are_probabilities(tmp_path):
    sure = [row("joy", "joy", probabilities=probabilities(0.95)) for _ in range(3)]
    unsure = [row("love", "joy", probabilities=probabilities(0.5))]

    page = page_of(tmp_path, {"p.jsonl": sure + unsure})
    plain = page_of(tmp_path, {"q.jsonl": [row("joy", "joy")]})

    assert 'class="chart"' not in plain
    assert "Wrong answers 0 Invalid answers 0" in read(plain).text
    # Three of four rows right at 0.95: a bar of full height in the last bin, none at 0.5.
    bars = re.findall(r'<rect class="fill" x="([\d.]+)" y="([\d.]+)" .*?height="([\d.]+)">', page)
    assert bars == [("165.3", "210.0", "0.0"), ("286.7", "10.0", "200.0")]
    line = re.search(r'<polyline class="line" points="(.*?) "', page)[1]
    # Risk 0.25 at full coverage on a scale to 0.5, and 0 at a coverage of 0.75.
    assert line == "304.0,110.0 239.0,210.0"


def test_answers_to_read_are_bounded_and_the_most_confident_come_first(tmp_path):
    errors = [
        row("love", "joy", probabilities=probabilities(0.5 + k / 1000), id=f"e{k}")
        for k in range(300)
    ]
    invalid = [row("love", "?", id=f"i{k}") for k in range(250)]

    page = page_of(tmp_path, {"p.jsonl": errors + invalid})

    text = read(page).text
    assert page.count("data-answer") == 400 + 1  # and once in the script
    assert "Wrong answers 300, the most confident first; the first 200 are here" in text
    assert "Invalid answers 250, they name no label, or several; the first 200 are here" in text
    assert text.index("e299 ") < text.index("e298 ")
    assert "id e99 " not in text


def test_several_files_are_compared(tmp_path):
    rows = [row("joy", "joy", id=k) for k in range(9)]
    other = [row("joy", "love", id=k) for k in range(9)]

    text = read(page_of(tmp_path, {"a.jsonl": rows, "b.jsonl": other})).text

    assert "2 files (task emotion, match flexible)" in text
    assert "a.jsonl minus b.jsonl" in text
    assert "first 9, second 0: exact McNemar test p = 0.0039" in text
    assert text.count("Confusion matrix") == 2


def test_a_matrix_of_too_many_labels_gives_way_to_pairs(tmp_path):
    labels = tuple(f"label{k}" for k in range(101))
    task = Task("many", labels, "Which?")

    page = page_of(tmp_path, {"p.jsonl": [row("label1", "label2")]}, task=task)

    assert 'class="matrix"' not in page
    assert "most confused labels" in page


def test_nothing_of_a_file_becomes_markup(tmp_path):
    labels = ("plain", "<script>alert(1)</script>", '" onclick="x', "{{7*7}}")
    rows = [
        row(label, text, prompt=text, id=f"{k} {label} {text}")
        for k, text in enumerate(PAYLOADS)
        for label in labels[:2]
    ]
    rows += [row(labels[0], labels[1]), row(labels[2], labels[3])]
    sidecar = '{"model": "<script>alert(1)</script>", "hardware": {"<b>": "</style>"}}'
    (tmp_path / "b.meta.json").write_text(sidecar)
    files = {"<img src=x>.jsonl": rows, "b.jsonl": rows}

    page = page_of(tmp_path, files, task=Task("<b>task</b>", labels, "?"))

    page.encode("utf-8")
    reader = read(page)
    assert set(reader.elements) <= ELEMENTS
    assert reader.elements.count("script") == 1
    assert reader.elements.count("style") == 1
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    links = [value for name, value in reader.attributes if name in ("href", "src", "action")]
    assert links
    assert all(re.fullmatch(r"#q=[\w%~.-]+", link) for link in links)
    for character in ("\u202e", "\x1b", "\x07", "\x00", "\r"):
        assert character not in page
    for payload in PAYLOADS[:8]:
        assert payload in "".join(reader.texts)
    assert r"\u202egnp.exe\u202c" in "".join(reader.texts)
    assert r"\ud800" in reader.text


def test_the_policy_allows_two_inline_blocks_and_no_request(tmp_path):
    page = page_of(tmp_path, {"p.jsonl": [row("joy", "joy")]})

    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1].replace("&#39;", "'")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    for name, element in (("style-src", "style"), ("script-src", "script")):
        block = re.search(f"<{element}>(.*?)</{element}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert not rules
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "http://" not in page
    assert "https://" not in page
    assert " style=" not in page  # the policy would not let it work


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=40))
def test_shown_text_is_text(text):
    markup = str(shown(text))

    markup.encode("utf-8")
    reader = read(f"<p>{markup}</p>")
    assert set(reader.elements) <= {"p", "span"}
    kept = "".join(one for one in text if one.isprintable())
    left = iter("".join(reader.texts))
    assert all(one in left for one in kept)


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("joy", "joy"),
        ("a\n\tb\u00a0\u3000c", "a\n\tb\u00a0\u3000c"),
        ("👨‍👩‍👧 می‌خواهم", "👨‍👩‍👧 می‌خواهم"),
        ("\u202ea", r'<span class="code">\u202e</span>a'),
        ("\u2028\x00", r'<span class="code">\u2028\x00</span>'),
        ("<&'\">", "&lt;&amp;&#39;&#34;&gt;"),
    ],
)
def test_what_is_shown_of_a_text(text, markup):
    assert str(shown(text)) == markup
