"""The command: its tables, its JSON, its exit codes, and that nothing in a file can act."""

import json
import subprocess
import sys

import pytest

from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.evaluate.__main__ import main
from llamafactory_emotion.evaluate.judging import AnswerJudge
from llamafactory_emotion.evaluate.one_file import evaluate_rows
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import EMOTION

ROWS = [(" joy", " joy"), (" joy", " love"), (" sadness", "sadness"), (" fear", "no idea")]


def row(gold, answer, **more):
    return {"prompt": "Which?\nI laughed", "predict": answer, "label": gold, **more}


@pytest.fixture
def predictions(tmp_path):
    def write(*rows, name="predictions.jsonl"):
        path = tmp_path / name
        lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def figures(tmp_path):
    def run(*arguments):
        out = tmp_path / "figures.json"
        assert main([*arguments, "--json", str(out), "--overwrite"]) == 0
        return json.loads(out.read_text(encoding="utf-8"))

    return run


def fails(capsys, arguments, *, code, saying):
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert saying in captured.err
    return captured.err


def test_the_json_has_the_promised_keys_and_figures(predictions, figures):
    found = figures(predictions(*(row(*pair) for pair in ROWS)))

    assert found["n"] == 4
    assert found["accuracy"] == 0.5
    assert found["accuracy_ci"] == pytest.approx([0.15, 0.85], abs=0.01)
    assert found["balanced_accuracy"] == 0.5
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3) / 6)
    assert found["f1_weighted"] == pytest.approx((2 * 2 / 3 + 1) / 4)
    assert (found["invalid"], found["invalid_rate"]) == (1, 0.25)
    assert found["majority_baseline"] == 0.5
    assert found["per_class"]["joy"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    labels = found["confusion"]["labels"]
    matrix = found["confusion"]["matrix"]
    assert labels == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    assert matrix[labels.index("joy")] == [0, 1, 1, 0, 0, 0, 0]
    assert matrix[labels.index("fear")] == [0, 0, 0, 0, 0, 0, 1]
    assert found["reasons"] == {"no_label": 1}
    assert found["broken"] == 0
    assert found["match"] == "flexible"


def test_the_plain_table(predictions, capsys):
    assert main([predictions(*(row(*pair) for pair in ROWS))]) == 0

    out = capsys.readouterr().out
    assert "accuracy           0.5000  (95 % interval 0.1500 to 0.8500)" in out
    assert "invalid answers    1 (25.00 %): no_label 1" in out
    assert "no gold rows       love, anger, surprise: counted in macro-F1 with 0" in out
    assert "  joy          1.0000  0.5000  0.6667        2" in out
    assert "\x1b" not in out


def test_all_answers_invalid_is_a_result(predictions, figures):
    found = figures(predictions(row("joy", ""), row("fear", "who knows")))

    assert (found["accuracy"], found["invalid"], found["f1_macro"]) == (0, 2, 0)
    assert found["reasons"] == {"empty": 1, "no_label": 1}


@pytest.mark.parametrize(
    "gold",
    [" joy", "Joy\n", "joy<|eot_id|>", "joy</s>\n", "<|pad|><|pad|> joy<|eot_id|>", 1, "1", 1.0],
)
def test_gold_labels_as_they_stand_in_files(predictions, figures, gold):
    assert figures(predictions(row(gold, "joy")))["accuracy"] == 1


def test_end_tokens_behind_gold_labels_do_not_change_what_a_source_says(
    tmp_path, predictions, figures
):
    source = tmp_path / "source.csv"
    source.write_text("text,label\nI wept,sadness\nI wept,joy\n")
    rows = [row("sadness<|eot_id|>", "sadness", text="I wept")]

    found = figures(predictions(*rows), "--source", str(source))

    assert (found["n"], found["accuracy"]) == (1, 1.0)
    assert found["row_check"]["other_gold"]["count"] == 0


@pytest.mark.parametrize(
    ("match", "accuracy", "invalid"),
    [("strict", 0.25, 3), ("flexible", 0.5, 1), ("contains", 0.75, 0)],
)
def test_match_rules(predictions, figures, match, accuracy, invalid):
    path = predictions(
        row("joy", "joy"),
        row("joy", "The answer is joy."),
        row("joy", "joy or love"),
        row("joy", "**love**"),
    )

    found = figures(path, "--match", match)

    assert (found["accuracy"], found["invalid"]) == (accuracy, invalid)
    assert figures(path, "--match", "all")["by_rule"][match]["accuracy"] == accuracy


def test_contains_takes_gold_where_contained_and_flexible_elsewhere(predictions, figures):
    found = figures(
        predictions(row("joy", "joy or love"), row("joy", "love"), row("joy", "anger or fear")),
        "--match",
        "contains",
    )

    assert found["confusion"]["matrix"][1] == [0, 1, 1, 0, 0, 0, 1]


def test_match_all_shows_the_three_side_by_side(predictions, capsys):
    main([predictions(row("joy", "joy or love")), "--match", "all"])

    table = capsys.readouterr().out.split("match rules\n")[1].split("\n\n")[0]
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["flexible", "0.0000"],
        ["strict", "0.0000"],
        ["contains", "1.0000"],
    ]


def test_the_reason_is_that_of_the_rule_that_counts():
    broken = BrokenRows("p")
    rows = [Prediction(1, answer, "joy", None, None, None, None) for answer in ("a love!", "?")]

    judged = list(AnswerJudge(EMOTION, match="all").judge(rows, broken))

    assert [one.predicted for one in judged] == [(2, 6, 2), (6, 6, 6)]
    assert [one.reason for one in judged] == [None, "empty"]


def test_probabilities_give_calibration(predictions, figures):
    even = dict.fromkeys(("love", "anger", "fear", "surprise"), 0.025)
    path = predictions(
        row("joy", "joy", id=1, probabilities={"sadness": 0.1, "joy": 0.8, **even}),
        row("joy", "sadness", id=2, probabilities={"sadness": 0.6, "joy": 0.3, **even}),
    )

    found = figures(path, "--threshold", "0.7")

    assert found["n"] == found["n_probabilities"] == 2
    assert found["top_2_accuracy"] == 1
    assert found["expected_calibration_error"] == pytest.approx(0.4)
    assert found["abstention"]["accuracy"] == 1
    assert found["abstention"]["coverage"] == 0.5
    assert found["risk_coverage"][0] == {"threshold": 0, "coverage": 1, "risk": 0.5}


def test_rows_without_gold_are_an_error_and_all_of_them_counted(predictions, capsys):
    path = predictions(row("joy", "joy"), *[row("neutral", "joy")] * 3, row("disgust", "joy"))

    error = fails(capsys, [path], code=1, saying="label outside the task 'emotion'")

    assert "4 have a label outside the task 'emotion': 'neutral' (3), 'disgust' (1)" in error
    assert f"{path}:2" in error


@pytest.mark.parametrize(
    ("broken", "saying"),
    [
        ('{"predict": "joy", "label"', "not JSON"),
        (json.dumps({"label": "joy"}), 'have no "predict"'),
        (json.dumps({"predict": "joy"}), 'have no "label"'),
        (json.dumps(row("joy", "joy", probabilities={"joy": 0.5})), "for other labels"),
        ('{"predict": "joy", "label": NaN}', "label outside the task"),
    ],
)
def test_broken_rows_stop_or_are_counted(predictions, capsys, figures, broken, saying):
    path = predictions(row("joy", "joy"), broken)

    fails(capsys, [path], code=1, saying=f"{path}:2")
    fails(capsys, [path], code=1, saying=saying)
    found = figures(path, "--skip-broken")

    assert (found["n"], found["broken"]) == (1, 1)
    assert saying in str(found["broken_kinds"])
    assert "left out           1 broken rows: 1 " in capsys.readouterr().out


def test_each_of_several_files_has_what_was_found_out_about_it(predictions, capsys):
    first = predictions(row("joy", "joy"), "not JSON")
    second = predictions(row("joy", "joy or love"), name="second.jsonl")

    assert main([first, second, "--skip-broken", "--match", "all"]) == 0

    printed = capsys.readouterr().out
    assert printed.count("match rules") == 2
    assert "1 broken rows: 1 are not JSON" in printed


def test_a_long_reading_says_how_far_it_is_on_a_terminal(predictions, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(evaluate, "_QUIET_SECONDS", -1)
    monkeypatch.setattr(evaluate, "_ROWS_BETWEEN_LOOKS", 2)
    path = predictions(*[row("joy", "joy")] * 3)

    assert main([path]) == 0

    assert capsys.readouterr().err == f"\r{path}: 0 rows\n"


def test_an_empty_file_and_one_without_a_readable_row(predictions, capsys):
    fails(capsys, [predictions()], code=1, saying="is empty")
    fails(capsys, [predictions("x", "y"), "--skip-broken"], code=1, saying="2 are not JSON")


def test_wrong_calls(predictions, capsys, tmp_path):
    path = predictions(row("joy", "joy"))

    fails(capsys, [str(tmp_path / "none.jsonl")], code=2, saying="is not there")
    fails(capsys, [str(tmp_path)], code=2, saying="is a directory")
    fails(capsys, [path, "--task", "mood"], code=2, saying="neither built in")
    fails(capsys, [path, "--json", path], code=2, saying="exists")
    fails(capsys, [path, "--errors", path], code=2, saying="exists")
    fails(capsys, [path, path], code=2, saying="named twice")
    fails(capsys, ["-", "--source", "-"], code=2, saying="only once")
    fails(capsys, [path, "--seed", "-1"], code=2, saying="--seed")
    fails(capsys, [path, "--threshold", "nan"], code=2, saying="--threshold is a probability")
    fails(capsys, [path, "--threshold", "0.5"], code=1, saying="no row of")
    with pytest.raises(SystemExit) as stop:
        main([path, "--match", "guess"])
    assert stop.value.code == 2


def test_an_existing_json_file_is_replaced_only_when_asked(predictions, tmp_path, capsys):
    path, out = predictions(row("joy", "joy")), tmp_path / "out.json"
    out.write_text("mine")

    fails(capsys, [path, "--json", str(out)], code=2, saying="exists")
    assert out.read_text() == "mine"
    assert main([path, "--json", str(out), "--overwrite"]) == 0
    assert json.loads(out.read_text())["n"] == 1


def test_a_failed_run_leaves_no_file(predictions, tmp_path, capsys):
    fails(capsys, [predictions("x"), "--json", str(tmp_path / "out.json")], code=1, saying="JSON")

    assert sorted(place.name for place in tmp_path.iterdir()) == ["predictions.jsonl"]


def test_escape_codes_in_a_file_do_not_reach_the_terminal(predictions, capsys):
    main([predictions(row("\x1b[31mred\x07", "joy"))])

    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "\x07" not in captured.err


def test_a_task_in_chinese(predictions, figures, tmp_path):
    task = tmp_path / "charges.yaml"
    task.write_text(
        "name: charges\ninstruction: 判断罪名\nlabels: [盗窃, 故意伤害, 抢劫]\n", encoding="utf-8"
    )

    path = predictions(row("盗窃", "答案:盗窃。"), row("抢劫", "不知道"))

    found = figures(path, "--task", str(task))
    assert (found["accuracy"], found["invalid"]) == (0.5, 1)
    assert found["per_class"]["盗窃"]["recall"] == 1


def test_a_label_without_end_is_a_label_outside_the_task(predictions, capsys):
    for gold in ("9" * 5000, " " * 200_000 + "x", "<|" * 100_000):
        fails(capsys, [predictions(row(gold, "joy"))], code=1, saying="label outside the task")


def test_the_bounded_cache_of_verdicts_changes_no_figure(predictions, figures, monkeypatch):
    monkeypatch.setattr("llamafactory_emotion.evaluate.judging._VERDICTS_KEPT", 3)
    rows = [row("joy", f"{answer} {k}") for k in range(5) for answer in ("joy", "love", "")]

    found = figures(predictions(*rows, *rows))

    assert found["confusion"]["matrix"][1] == [0, 10, 10, 0, 0, 0, 10]


@pytest.mark.parametrize(
    ("labels", "whole"),
    [(["a", "b"], True), ([f"a label of several words, number {k}" for k in range(5)], False)],
)
def test_a_matrix_too_wide_for_a_terminal_is_not_printed(
    predictions, capsys, tmp_path, labels, whole
):
    task = tmp_path / "wide.yaml"
    task.write_text(f"name: wide\ninstruction: Which?\nlabels: {json.dumps(labels)}\n")

    main([predictions(row(labels[0], labels[1])), "--task", str(task)])

    assert ("rows gold, columns predicted" in capsys.readouterr().out) is whole


def test_many_labels_show_the_most_confused_pairs(predictions, capsys, tmp_path):
    task = tmp_path / "many.yaml"
    labels = [f"label{k:02}" for k in range(40)]
    task.write_text(f"name: many\ninstruction: Which?\nlabels: {json.dumps(labels)}\n")

    main([predictions(row("label01", "label02"), row("label03", "label03")), "--task", str(task)])

    out = capsys.readouterr().out
    assert "most confused labels (40 labels" in out
    assert "label01    label02     1   100.00 %" in out
    assert "invalid\n" not in out


def test_examples_to_read_are_bounded_and_the_most_confident_come_first(tmp_path):
    def rows():
        for k in range(1000):
            confidence = 0.5 + k * 0.0004
            even = dict.fromkeys(EMOTION.labels, (1 - confidence) / 5)
            probabilities = even | {"love": confidence}
            yield Prediction(k, "love", "joy", "x" * 9999, None, None, probabilities)
            yield Prediction(k, "?", "joy", "x" * 9999, None, None, None)

    evaluation = evaluate_rows(rows(), BrokenRows("p"), EMOTION)

    assert [one.line for one in evaluation.confident_errors] == list(range(999, 799, -1))
    assert [one.line for one in evaluation.invalid_answers] == list(range(200))
    first = evaluation.confident_errors[0]
    assert (first.gold, first.predicted, len(first.prompt)) == ("joy", "love", 2000)
    assert first.confidence == pytest.approx(0.8996)
    assert evaluation.calibration.n == 1000
    assert evaluation.metrics.n == 2000


def test_standard_input_and_ascii_terminals(predictions):
    lines = json.dumps(row("joy", "joy")) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "llamafactory_emotion.evaluate", "-"],
        input=lines.encode(),
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"standard input" in done.stdout


def test_it_starts_without_the_heavy_libraries(predictions):
    path = predictions(*[row("joy", "joy")] * 20)
    code = (
        "import sys; from llamafactory_emotion.evaluate.__main__ import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'transformers', 'llamafactory', 'sklearn', 'scipy', 'datasets',"
        " 'pyarrow', 'rich', 'matplotlib'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr


def unfinished_file(place, complete_rows):
    """Write four rows and what a run says of them."""
    rows = [{"id": n, "prompt": f"text {n}", "predict": "joy", "label": "joy"} for n in range(4)]
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    place.with_name(f"{place.name}.meta.json").write_text(
        json.dumps({"model": "m", "complete_rows": complete_rows})
    )
    return str(place)


@pytest.mark.parametrize(("complete_rows", "said"), [(None, True), (5, True), (4, False)])
def test_a_file_whose_run_had_not_ended_is_told_everywhere(tmp_path, capsys, complete_rows, said):
    one = unfinished_file(tmp_path / "one.jsonl", complete_rows)
    two = unfinished_file(tmp_path / "two.jsonl", complete_rows)
    out = {name: tmp_path / f"out.{name}" for name in ("html", "md", "json")}
    reports = [f"--report={out['html']}", f"--report={out['md']}", f"--json={out['json']}"]

    assert main([one, *reports]) == 0
    told = [capsys.readouterr().out, *(path.read_text(encoding="utf-8") for path in out.values())]
    assert ["had not ended" in text for text in told[:3]] == [said] * 3
    assert json.loads(told[3])["unfinished"] is said
    assert main([one, two]) == 0
    assert capsys.readouterr().out.count("had not ended") == 2 * said


def test_rows_that_the_source_lacks_do_not_make_a_file_unfinished(tmp_path, capsys):
    predictions = unfinished_file(tmp_path / "one.jsonl", 4)
    source = tmp_path / "source.jsonl"
    source.write_text('{"text": "text 1", "label": "joy"}\n{"text": "text 2", "label": "joy"}\n')

    assert main([predictions, "--source", str(source)]) == 0
    assert "unfinished" not in capsys.readouterr().out
