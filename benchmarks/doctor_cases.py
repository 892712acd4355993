"""Recipes and data sets, half of them broken, that `doctor_against_host` tries.

Broken in the ways of `tests/field` and of the issues of LLaMA-Factory that a case names.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Dataset, Features, Value

from llamafactory_emotion import task

datasets.disable_progress_bars()
TEXTS = (
    *("the train was late again", "she sent me flowers", "a knock at the door", "so it goes"),
    *("nobody wrote to me", "they shouted at us"),
)
LABELS = ("anger", "love", "fear", "joy", "sadness", "surprise")
ROWS = [(text, LABELS[(row + turn) % 6]) for turn in range(4) for row, text in enumerate(TEXTS)]
NAMED = {"columns": {"prompt": "text", "response": "label"}}
EMOTION = NAMED | {"formatting": "emotion"}
SHAREGPT = {"formatting": "sharegpt"}
OPENAI = SHAREGPT | {
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
             "assistant_tag": "assistant", "system_tag": "system"},
}  # fmt: skip
PREDICTS = {"do_train": None, "max_steps": None, "do_predict": True, "predict_with_generate": True,
            "dataset": None, "eval_dataset": "d", "do_sample": False, "max_new_tokens": 4,
            "max_samples": 4}  # fmt: skip
FULL = {"finetuning_type": "full", "lora_rank": None}


@dataclass(frozen=True)
class Case:
    """A data set, what a recipe changes, and the answers that should be trained.

    Attributes:
        name: What is special about it.
        content: What the file of the data set `d` holds, or files by name.
        entry: What `dataset_info.json` says of it beside the file's name.
        changes: The recipe's other keys; None removes one.
        file: The name of the file.
        answers: The answer of each row, as it is meant; None where they are not compared.
        texts: What its prompts should hold, where that is compared.
        strict: Why doctor says error of what the host runs.
    """

    name: str
    content: bytes | str | Mapping[str, bytes | str]
    entry: Mapping[str, Any] = field(default_factory=lambda: NAMED)
    changes: Mapping[str, Any] = field(default_factory=dict)
    file: str = "d.jsonl"
    answers: Sequence[str] | None = tuple(label for _, label in ROWS)
    strict: str = ""
    texts: Sequence[str] = ()


def table(rows: Sequence[Sequence[object]] = ROWS, head: str = "text,label") -> str:
    """Return CSV."""
    return "".join(f"{line}\n" for line in (head, *(",".join(map(str, row)) for row in rows)))


def lines(rows: Sequence[Sequence[object]] = ROWS, *names: str, **more: object) -> str:
    """Return JSON Lines."""
    names = names or ("text", "label")
    objects = (dict(zip(names, row, strict=False)) | more for row in rows)
    return "".join(json.dumps(one) + "\n" for one in objects)


def labelled(*labels: object) -> list[tuple[str, object]]:
    """Return the rows with other labels, in turn."""
    return [(text, labels[row % len(labels)]) for row, (text, _) in enumerate(ROWS)]


def turns(user: str, assistant: str, role: str = "from", content: str = "value") -> list[list]:
    """Return conversations of one turn."""
    return [
        [[{role: user, content: text}, {role: assistant, content: label}]] for text, label in ROWS
    ]


def written(write: Callable[[Any, io.BytesIO], object], table: Any) -> bytes:
    """Return what a writer puts into a file."""
    buffer = io.BytesIO()
    write(table, buffer)
    return buffer.getvalue()


def columns(labels: Sequence[object] | None = None) -> pyarrow.Table:
    """Return the rows as Arrow."""
    answers = [label for _, label in ROWS] if labels is None else list(labels)
    return pyarrow.table({"text": [text for text, _ in ROWS], "label": answers})


def parquet_with_names(names: Sequence[str] = LABELS) -> bytes:
    """Return Parquet with label ids and their names."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    ids = [{"text": text, "label": names.index(label)} for text, label in ROWS]
    return written(lambda rows, file: rows.to_parquet(file), Dataset.from_list(ids, features))


def arrow_stream(rows: pyarrow.Table, file: io.BytesIO) -> None:
    """Write Arrow as `datasets` reads it."""
    with pyarrow.ipc.new_stream(file, rows.schema) as stream:
        stream.write_table(rows)


MISSING = labelled("None", "joy", "n/a")
ALPACA = lines([(text, "", label) for text, label in ROWS], "instruction", "input", "output")

BROKEN = (
    # Data that the host reads otherwise than it is written.
    Case("CSV, labels 0 and 1", table(labelled(0, 1)), file="d.csv"),
    Case("CSV, labels 001 and 002", table(labelled("001", "002")), file="d.csv"),
    Case("CSV, labels True and False", table(labelled(*map(bool, (1, 0)))), file="d.csv"),
    Case("CSV, labels None and n/a", table(MISSING), file="d.csv",
         answers=[label for _, label in MISSING]),
    Case("CSV, texts that are numbers", table([(7, label) for _, label in ROWS]), file="d.csv"),
    Case("CSV with semicolons", table().replace(",", ";"), file="d.csv"),
    Case("CSV, a space in the header", table(head="text, label"), file="d.csv"),
    Case("CSV, an unquoted comma in one text", table().replace("it", "it,", 1), file="d.csv"),
    Case("CSV, an unquoted comma in every text",
         table([(f"well, {text}", label) for text, label in ROWS]), file="d.csv",
         texts=[f"well, {text}" for text, _ in ROWS]),
    Case("CSV in GB18030", table([("你好", "喜")] * 6).encode("gb18030"), file="d.csv"),
    Case("CSV in UTF-16", table().encode("utf-16"), file="d.csv"),
    Case("CSV without a header", table()[11:], file="d.csv"),
    Case("CSV, a header alone", "text,label\n", file="d.csv"),
    Case("an empty file", ""),
    Case("TSV", table().replace(",", "\t"), file="d.tsv"),
    Case("Excel", b"PK\x03\x04", file="d.xlsx"),
    Case("JSON in a file called .txt (3018)", json.dumps([{"instruction": "a", "output": "joy"}]),
         {}, file="d.txt"),
    Case("JSON Lines, labels text and numbers", lines(labelled("joy", 0))),
    Case("JSON Lines, labels are numbers", lines(labelled(0, 1))),
    Case("JSON Lines, labels are dates", lines(labelled("2020-01-01")),
         answers=["2020-01-01"] * 24),
    Case("JSON Lines, labels are lists", lines(labelled(["joy"]))),
    Case("JSON Lines, no label (4236)", lines(labelled(None))),
    Case("JSON Lines, empty labels", lines(labelled(""))),
    Case("JSON Lines, cut in the last row", lines() + '{"text": "so'),
    Case("JSON, a list cut at its end", json.dumps([{"text": "a", "label": "joy"}] * 6)[:-9],
         file="d.json"),
    Case("JSON, the rows under a key", json.dumps({"data": [{"text": "a", "label": "joy"}] * 6}),
         file="d.json"),
    Case("columns not named (5810)", lines(), {}),
    Case("a column misspelt", lines(), {"columns": {"prompt": "text", "response": "lable"}}),
    Case("sharegpt with roles user and assistant", lines(turns("user", "assistant"),
         "conversations"), SHAREGPT),
    Case("OpenAI messages without tags (5503)", lines(turns("user", "assistant", "role", "content"),
         "messages"), SHAREGPT | {"columns": {"messages": "messages"}}),
    Case("sharegpt, no last answer", lines([[one[0][:1]] for one in turns("human", "gpt")],
         "conversations"), SHAREGPT),
    Case("history that is text", lines(ROWS, history="so far"), NAMED | {"columns": {
         "prompt": "text", "response": "label", "history": "history"}}, texts=["so far"]),
    Case("Parquet, label ids with names", parquet_with_names(), file="d.parquet"),
    Case("formatting emotion, a label outside it", lines(labelled("joy", "boredom")), EMOTION),
    Case("formatting emotion, an id outside it", lines(labelled(6)), EMOTION),
    Case("formatting emotion, ids of another order", parquet_with_names(LABELS), EMOTION,
         file="d.parquet"),
    Case("a folder with CSV and JSON Lines", {"d/a.csv": table(), "d/b.jsonl": lines()},
         file="d"),
    # dataset_info.json
    Case("a data set named by its path (5341)", lines(), changes={"dataset": "data/d.jsonl"}),
    Case("no such folder of data", lines(), changes={"dataset_dir": "nowhere"}),
    Case("dataset_info.json is no JSON", {"d.jsonl": lines(), "dataset_info.json": "{"}),
    Case("a file that is not there", {"e.jsonl": lines()}),
    Case("an unknown formatting", lines(), NAMED | {"formatting": "openai"}),
    Case("ranking in a set for sft", lines(), NAMED | {"ranking": True}),
    Case("a file with a split of its own", lines(), NAMED | {"split": "validation"}),
    # Recipes
    Case("a template that is none", lines(), changes={"template": "lama3"}),
    Case("a template of other tokens than the base has", lines(), changes={"template": "qwen"}),
    Case("new_special_tokens", lines(), changes={"new_special_tokens": "<a>"}),
    Case("evaluation_strategy", lines(), changes={"evaluation_strategy": "steps"}),
    Case("train_mm_proj_only (7412)", lines(), changes={"train_mm_proj_only": False}),
    Case("learning_rate: fast", lines(), changes={"learning_rate": "fast"}),
    Case("bf16 on a CPU", lines(), changes={"bf16": True}),
    Case("no such model", lines(), changes={"model_name_or_path": "saves/none"}),
    Case("no such adapter", lines(), changes={"adapter_name_or_path": "saves/none"}),
    Case("no such layer for LoRA", lines(), changes={"lora_target": "query"}),
    Case("quantised and fully trained", lines(), changes=FULL | {"quantization_bit": 4}),
    Case("stage: dpo with one answer a row", lines(), changes={"stage": "dpo"}),
    Case("the best of no evaluation", lines(), changes={
         "load_best_model_at_end": True, "eval_strategy": "no", "save_strategy": "steps"}),
    Case("the best by a metric that is none", lines(), changes={
         "load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
         "val_size": 0.25, "metric_for_best_model": "f1"}),
    Case("do_predict without predict_with_generate", lines(),
         changes=PREDICTS | {"predict_with_generate": None}),
    Case("generated answers and compute_accuracy", lines(), changes={
         "predict_with_generate": True, "compute_accuracy": True}),
    Case("a cutoff within the answers", lines(), changes={"cutoff_len": 3}),
    Case("streaming without max_steps (5353)", lines(), changes={
         "streaming": True, "max_steps": None}),
    Case("streaming without a worker", lines(), changes={"streaming": True}, answers=None),
    Case("more rows held out than there are", lines(), changes={"val_size": 100}),
    Case("val_size beside eval_dataset", lines(), changes={"val_size": 0.2, "eval_dataset": "d"}),
    Case("deepspeed settings that are not there", lines(), changes={"deepspeed": "ds_z2.json"}),
    Case("an output folder with a trained model", {"d.jsonl": lines(),
         "../saves/model.safetensors": b""}),
    Case("text where LoRA's rank stands", lines(), changes={"lora_rank": "eight"}),
)  # fmt: skip

SOUND = (
    Case("CSV", table(), file="d.csv", texts=[text for text, _ in ROWS]),
    Case("CSV, quoted commas and line breaks",
         table([(f'"well,\n{text}"', label) for text, label in ROWS]), file="d.csv"),
    Case("CSV with a byte-order mark", table().encode("utf-8-sig"), file="d.csv"),
    Case("CSV, labels in capitals with spaces", table(labelled("Card Lost", "REFUND")),
         file="d.csv", answers=["Card Lost", "REFUND"] * 12),
    Case("CSV, two columns of one name", table([(*row, "x") for row in ROWS], "text,label,label"),
         file="d.csv"),
    Case("CSV with an index column", table([(row, *pair) for row, pair in enumerate(ROWS)],
         ",text,label"), file="d.csv"),
    Case("JSON Lines", lines()),
    Case("JSON, a list over many lines", json.dumps([dict(zip(("text", "label"), row, strict=True))
         for row in ROWS], indent=2), file="d.json"),
    Case("JSON Lines in a file called .json", lines(), file="d.json"),
    Case("JSON Lines, a last line without its end", lines().rstrip()),
    Case("JSON Lines, blank lines between", lines().replace("\n", "\n\n")),
    Case("JSON Lines, emoji labels", lines(labelled("😀", "😡")), answers=["😀", "😡"] * 12),
    Case("JSON Lines, Chinese", lines([("火车又晚点了", "愤怒")] * 24), answers=["愤怒"] * 24),
    Case("JSON Lines, labels 1 and 2 as text", lines(labelled("1", "2")), answers=["1", "2"] * 12),
    Case("JSON Lines, further columns", lines(ROWS, id=7, meta={"a": [1]}, note=None)),
    Case("alpaca with an empty input", ALPACA, {}),
    Case("alpaca, query named as nothing (4108)", ALPACA, {"columns": {
         "prompt": "instruction", "query": "", "response": "output"}}),
    Case("alpaca with history and system", lines(ROWS, history=[["hello", "hi"]], system="Label."),
         {"columns": NAMED["columns"] | {"history": "history", "system": "system"}}, answers=None),
    Case("sharegpt", lines(turns("human", "gpt"), "conversations"), SHAREGPT),
    Case("OpenAI messages", lines(turns("user", "assistant", "role", "content"), "messages"),
         OPENAI),
    Case("Parquet", written(pyarrow.parquet.write_table, columns()), file="d.parquet"),
    Case("Parquet with large strings", written(pyarrow.parquet.write_table, columns().cast(
         pyarrow.schema([("text", pyarrow.large_string()), ("label", pyarrow.large_string())]))),
         file="d.parquet"),
    Case("Arrow", written(arrow_stream, columns()), file="d.arrow"),
    Case("a folder of JSON Lines", {"d/a.jsonl": lines(ROWS[:12]), "d/b.jsonl": lines(ROWS[12:])},
         file="d", answers=None),
    Case("formatting emotion, ids", lines([(text, number % 6) for number, (text, _)
         in enumerate(ROWS)]), EMOTION, answers=None),
    Case("formatting emotion, names", lines(), EMOTION),
    Case("formatting emotion, ids of its order", parquet_with_names(task.EMOTION.labels), EMOTION,
         file="d.parquet"),
    Case("num_samples beyond the rows", lines(), NAMED | {"num_samples": 100}, answers=None),
    Case("two data sets", lines(), changes={"dataset": "d,d2"}, answers=None),
    Case("max_samples beyond the rows", lines(), changes={"max_samples": 100000}),
    Case("the template llama3", lines(), changes={"template": "llama3"}),
    Case("the template default", lines(), changes={"template": "default"}),
    Case("no lora_target", lines(), changes={"lora_target": None}),
    Case("LoRA on q_proj and v_proj, rank 4, rslora", lines(), changes={
         "lora_target": "q_proj,v_proj", "lora_rank": 4, "use_rslora": True}),
    Case("full training", lines(), changes=FULL),
    Case("frozen layers", lines(), changes={
         "finetuning_type": "freeze", "freeze_trainable_layers": 2, "lora_rank": None}),
    Case("more frozen layers than there are", lines(), changes={
         "finetuning_type": "freeze", "freeze_trainable_layers": 9, "lora_rank": None}),
    Case("packing", lines(), changes={"packing": True}, answers=None),
    Case("neat_packing", lines(), changes={"neat_packing": True, "flash_attn": "sdpa"},
         answers=None),
    Case("flash_attn: fa2 on a CPU", lines(), changes={"flash_attn": "fa2"}),
    Case("a fifth held out", lines(), changes={
         "val_size": 0.2, "eval_strategy": "steps", "eval_steps": 1}, answers=None),
    Case("the best by the loss", lines(), changes={
         "load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
         "val_size": 0.25, "metric_for_best_model": "loss"}, answers=None),
    Case("the best by our accuracy", lines(), changes={
         "load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
         "val_size": 0.25, "metric_for_best_model": "accuracy", "compute_accuracy": True},
         answers=None),
    Case("another set to evaluate", lines(), changes={
         "eval_dataset": "d2", "eval_strategy": "epoch", "per_device_eval_batch_size": 2}),
    Case("each set evaluated by itself", lines(), changes={
         "eval_dataset": "d,d2", "do_eval": True, "eval_on_each_dataset": True}),
    Case("streaming with a worker", lines(), changes={
         "streaming": True, "dataloader_num_workers": 1}, answers=None),
    Case("several workers", lines(), changes={"preprocessing_num_workers": 2}),
    Case("interleaved sets", lines(), changes={
         "dataset": "d,d2", "mix_strategy": "interleave_over", "interleave_probs": "0.5,0.5"},
         answers=None),
    Case("tokens added", lines(), changes={"add_tokens": "<a>,<b>", "resize_vocab": True}),
    Case("a prediction without labels", lines(labelled(None)), changes=PREDICTS, answers=None),
    Case("a prediction", lines(), EMOTION, changes=PREDICTS, answers=None),
    Case("learning_rate: 1e-4", lines(), changes={"learning_rate": 1e-4}),
    Case("half a warm-up, group_by_length", lines(), changes={
         "warmup_steps": 1, "train_sampling_strategy": "group_by_length"}),
    Case("NEFTune and a cosine", lines(), changes={
         "neftune_noise_alpha": 5, "lr_scheduler_type": "cosine"}),
    Case("rope_scaling", lines(), changes={"rope_scaling": "linear"}),
    Case("an answer on the prompt too", lines(), changes={"train_on_prompt": True}, answers=None),
    Case("a system prompt", lines(), changes={"default_system": "Answer in a word."}),
    Case("gradient checkpointing off, accumulation", lines(), changes={
         "disable_gradient_checkpointing": True, "gradient_accumulation_steps": 2}),
    Case("plots and logs", lines(), changes={"plot_loss": True, "logging_steps": 1}),
    Case("save by epoch, two kept", lines(), changes={
         "save_strategy": "epoch", "save_total_limit": 2, "max_steps": None,
         "num_train_epochs": 1}),
    Case("the dataset named as a list", lines(), changes={"dataset": ["d"]}),
)  # fmt: skip


# The host runs them, and doctor says error all the same.
STRICT = (
    Case("a key misspelt in dataset_info.json", lines(), NAMED | {"formating": "emotion"},
         strict="what the key asks for does not happen"),
    Case("neat_packing under fa2 with a batch of 4", lines(), changes={
         "neat_packing": True, "flash_attn": "fa2"}, answers=None,
         strict="it stops on a GPU; without one LLaMA-Factory falls back to sdpa"),
    Case("max_new_tokens below a label's", lines(), EMOTION, changes=PREDICTS | {
         "max_new_tokens": 1}, answers=None, strict="labels would be cut, and judged as they are"),
)  # fmt: skip


def write_case(case: Case, folder: Path, base: Path) -> dict[str, Any]:
    """Write a case's data into a folder, and return its recipe."""
    data = folder / "data"
    data.mkdir(parents=True)
    files = case.content if isinstance(case.content, Mapping) else {case.file: case.content}
    # A second set, sound, for what mixes several.
    entries = {"d": {"file_name": case.file, **case.entry}, "d2": {"file_name": "d2.csv", **NAMED}}
    written_files = {"dataset_info.json": json.dumps(entries), "d2.csv": table(), **files}
    for name, content in written_files.items():
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    recipe = {
        "model_name_or_path": str(base),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 8,
        "dataset": "d",
        "dataset_dir": str(data),
        "template": "emotion",
        "cutoff_len": 128,
        "output_dir": str(folder / "saves"),
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "learning_rate": 1e-4,
        "report_to": "none",
        "overwrite_cache": True,
    }
    changed = recipe | case.changes
    return {key: value for key, value in changed.items() if value is not None}
