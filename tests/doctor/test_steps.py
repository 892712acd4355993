"""How many optimizer steps a run does: numbers by hand, and what `doctor` says about them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_calls import judge, without_hub
from old_hosts import needs_transformers_5
from ticket_rows import ticket_rows, write_tickets
from tiny_llama import write_tiny_llama

from llamafactory_emotion.doctor import loading
from llamafactory_emotion.doctor.context import Finding, Level
from llamafactory_emotion.doctor.steps import FEWEST_STEPS, Schedule
from llamafactory_emotion.plugin import host

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = Path(__file__).parents[2] / "examples"
# 41 rows, 4 a batch: 11 batches, the last of one row.
PLAIN = Schedule(
    rows=(9,) * 41, processes=1, cutoff_len=None, gradient_accumulation_steps=1,
    per_device_train_batch_size=4, num_train_epochs=1, max_steps=-1, dataloader_drop_last=False,
    preprocessing_batch_size=1000, preprocessing_num_workers=1,
)  # fmt: skip
EPOCHS, BATCH, ACCUMULATION, DROPS = (
    *("num_train_epochs", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "dataloader_drop_last"),
)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, 11),
        ({DROPS: True}, 10),
        ({ACCUMULATION: 3}, 4),  # 3 + 3 + 3 + 2 batches
        ({ACCUMULATION: 3, DROPS: True}, 4),  # 3 + 3 + 3 + 1
        ({"processes": 2}, 6),  # 11 batches shared out to two
        ({"processes": 2, ACCUMULATION: 3}, 2),
        ({"processes": 2, DROPS: True}, 5),
        ({EPOCHS: 3}, 33),
        ({EPOCHS: 2.5}, 28),  # 27.5
        ({EPOCHS: 0.05}, 1),
        ({EPOCHS: 3, "max_steps": 7}, 7),
        ({BATCH: 64}, 1),
        ({BATCH: 64, DROPS: True}, 1),  # no full batch, and yet one step
        ({BATCH: 64, ACCUMULATION: 8, EPOCHS: 3}, 3),
        # 24 packs, 12 batches, 3 steps an epoch
        ({"rows": (25,) * 93, "cutoff_len": 101, BATCH: 2, ACCUMULATION: 4, EPOCHS: 3}, 9),
    ],
    ids=str,
)
def test_steps_by_hand(changes, steps):
    assert replace(PLAIN, **changes).steps == steps


# One token of a pack stays free: cutoff 101 holds 100 tokens. The longest row that fits goes first.
@pytest.mark.parametrize(
    ("rows", "changes", "packs"),
    [
        ((60, 50, 40, 30, 20), {}, 2),  # 60 + 40, 50 + 30 + 20
        ((60, 50, 40, 30, 20), {"cutoff_len": 111}, 2),  # 60 + 50, 40 + 30 + 20
        ((60, 50, 40, 30, 20), {"preprocessing_batch_size": 2}, 4),  # 60, 50; 40 + 30; 20
        ((60, 50, 40, 30, 20), {"preprocessing_num_workers": 2}, 3),  # 60 + 40, 50; 30 + 20
        ((60, 50, 40, 30, 20), {"preprocessing_num_workers": 9}, 5),
        ((50, 50), {}, 1),
        ((50, 50), {"cutoff_len": 100}, 2),
        ((150, 100), {}, 2),  # what is longer is cut
        ((25,) * 93, {}, 24),  # four a pack
    ],
    ids=str,
)
def test_packs_by_hand(rows, changes, packs):
    assert replace(PLAIN, **{"rows": rows, "cutoff_len": 101, **changes}).items == packs


@pytest.mark.parametrize(
    ("values", "steps", "warm_up"),
    [
        ({}, 50, 0),
        ({"warmup_ratio": 0.1}, 50, 5),
        ({"warmup_ratio": 0.1}, 3, 1),  # 0.3, rounded up
        ({"warmup_steps": 50}, 75, 50),
        ({"warmup_steps": 50}, 3, 3),
        ({"warmup_steps": float("inf")}, 3, 0),
    ],
    ids=str,
)
def test_warm_up_is_counted_by_transformers(values, steps, warm_up):
    assert host.warmup_steps(values, steps) == warm_up


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that knows the words of the tickets, and data sets of them."""
    place = tmp_path_factory.mktemp("steps")
    write_tiny_llama([row["input"] for row in ticket_rows()], place / "base")
    data = write_tickets(place / "data", tickets=93, forty=40, twelve=12)
    entries = json.loads((data / "dataset_info.json").read_text())
    entries["hub"] = {"hf_hub_url": "someone/tickets"}
    entries["drawn"] = {**entries["forty"], "num_samples": 80}
    (data / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return place


@pytest.fixture
def look(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Judge a recipe on the tickets; return what is said of its steps."""
    monkeypatch.chdir(folder)

    def examined(name: str, *words: str) -> list[Finding]:
        usual = ("model_name_or_path=base", "dataset_dir=data", "output_dir=new")
        found = judge(EXAMPLES / f"{name}.yaml", *usual, *words)["recipe"]
        assert [one for one in found if one.level is Level.ERROR and one.check != "steps"] == []
        return [one for one in found if one.check == "steps"]

    return examined


ROWS = ("emotion_lora", "per_device_train_batch_size=4", "gradient_accumulation_steps=1")
SAID = [
    (("dataset=forty",), "30 optimizer steps, 3 of them warm-up: 3 epochs of 40 rows"),
    (("dataset=forty", "num_train_epochs=1"), "10 optimizer steps, 1 of them warm-up: 1 epoch of"),
    (("dataset=forty", "max_steps=70"), "70 optimizer steps (max_steps), 7 of them warm-up: 40 ro"),
    (("dataset=forty", "lr_scheduler_type=constant"), "30 optimizer steps, 0 of them warm-up"),
    (("dataset=forty,twelve", "max_samples=10"), "15 optimizer steps, 2 of them warm-up: 3 epochs "
     "of 20 rows, effective batch 4"),
    (("dataset=forty,forty",), "epochs of 40 rows"),  # LLaMA-Factory reads a name once
    (("dataset=forty,twelve",), "epochs of 52 rows"),
    (("dataset=forty,twelve", "mix_strategy=interleave_under"), "epochs of 24 rows"),
    (("dataset=forty", "val_size=0.25"), "epochs of 30 rows"),
    (("dataset=forty", "val_size=0.01"), "epochs of 39 rows"),
    (("dataset=forty", "val_size=10"), "epochs of 30 rows"),
    (("dataset=drawn",), "60 optimizer steps, 6 of them warm-up: 3 epochs of 80 rows"),
    (("dataset=hub",), "effective batch 4; the number of optimizer steps is not known: the rows of "
     "'hub' are on a hub"),
    (("dataset=forty,hub", "max_steps=70"), "70 optimizer steps (max_steps), 7 of them warm-up: "
     "effective batch 4"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), SAID, ids=str)
def test_doctor_says_how_many_steps_there_are(look, monkeypatch, words, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    notes = [one.sentence for one in look(*ROWS, *words) if one.level is Level.NOTE]

    assert len(notes) == 1
    assert said in notes[0]


def test_processes_share_the_rows(look, monkeypatch):
    monkeypatch.setenv("NPROC_PER_NODE", "2")

    assert look(*ROWS, "dataset=forty")[-1].sentence == (
        "15 optimizer steps, 2 of them warm-up: 3 epochs of 40 rows, effective batch 8"
    )


@pytest.mark.parametrize("val_size", ["1.0", "40"])
def test_an_evaluation_that_takes_all_rows_is_an_error(look, val_size):
    found = look(*ROWS, "dataset=forty", f"val_size={val_size}")

    assert [one.level for one in found] == [Level.ERROR]
    assert "cannot mix and split the rows: test_size=" in found[0].sentence


PACKED = ("emotion_lora_packed", "dataset=tickets", "eval_dataset=twelve")


def test_doctor_says_that_ninety_three_rows_are_too_few_for_the_packed_recipe(look):
    found = look(*PACKED, "num_train_epochs=1")

    assert [one.level for one in found] == [Level.WARNING, Level.NOTE]
    assert found[0].sentence.startswith("3 optimizer steps are too few")
    assert found[1].sentence == (
        "3 optimizer steps, 1 of them warm-up: 1 epoch of 93 rows in 3 packs, effective batch 1"
    )


STEPS = ("warmup_ratio=null", "warmup_steps=50")  # transformers 4 takes no empty ratio
FEW = [
    PACKED,
    pytest.param((*PACKED, "num_train_epochs=1", *STEPS), marks=needs_transformers_5),
    (*PACKED, "warmup_ratio=0.9"),
    (*PACKED, "gradient_accumulation_steps=4"),
    (*PACKED, "max_steps=3"),
    ("emotion_lora", "dataset=tickets"),
    ("emotion_lora", "dataset=twelve"),
    ("emotion_lora", "dataset=hub", "max_steps=3"),
    pytest.param(
        ("emotion_lora", "dataset=tickets", "max_steps=60", *STEPS), marks=needs_transformers_5
    ),
    ("emotion_cpu", "dataset=forty", "num_train_epochs=1"),
]


@pytest.mark.parametrize("call", FEW, ids=str)
def test_what_doctor_says_to_add_makes_a_run_long_enough(look, call):
    warned = [one for one in look(*call) if one.level is Level.WARNING]
    assert len(warned) == 1
    added = [word for word in warned[0].remedy.split() if "=" in word]

    found = look(*call, *added)

    assert [one.level for one in found] == [Level.NOTE]
    assert int(found[0].sentence.split()[0]) >= FEWEST_STEPS


def test_rows_a_step_are_lowered_before_epochs_are_added(look):
    (warned, _) = look("emotion_lora", "dataset=tickets")

    assert warned.remedy == "add gradient_accumulation_steps=1 (57 steps)"  # 93 / 5, three times


def test_steps_are_estimated_where_only_the_first_rows_were_read(look, monkeypatch):
    monkeypatch.setattr(loading, "ROWS_READ", 31)

    said = look(*PACKED)[-1].sentence

    assert said.startswith("about ")
    assert "93 rows in" in said


def test_packs_are_not_counted_without_a_tokenizer(look, monkeypatch):
    without_hub(monkeypatch)

    found = look(*PACKED, "model_name_or_path=someone/base")

    assert [one.sentence for one in found] == [
        "effective batch 1; the number of optimizer steps is not known: packs are counted with the "
        "tokenizer, under stage: sft"
    ]


def test_of_two_keys_for_the_warm_up_both_are_set_right(look):
    call = ("emotion_lora", "dataset=tickets", "max_steps=60", "warmup_ratio=0.9")
    both, too_long, _ = look(*call, "warmup_steps=50")

    assert "warmup_steps and warmup_ratio are both given" in both.sentence
    assert too_long.remedy == "add warmup_steps=0 warmup_ratio=0.1 (60 steps)"
