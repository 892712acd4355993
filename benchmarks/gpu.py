"""Llama-3-8B on a GPU: training speed, memory, use of the GPU, and speed of prediction.

    python benchmarks/gpu.py --seconds 480 --json gpu.json        (one CUDA GPU of 40 GB or more)
    python benchmarks/gpu.py --shape tiny --seconds 300           (a check of this script on a CPU)

Nothing is downloaded. A machine without network needs, as wheels made elsewhere with `pip download`
for its Python and installed with `pip install --no-index --find-links FOLDER`: this package,
llamafactory and what both depend on (transformers in the versions that pyproject.toml allows);
liger-kernel and flash-attn to measure them too. flash-attn's wheel has to fit torch, CUDA and
Python: its releases on GitHub have them, PyPI has the source alone.

Llama-3-8B is built from its published sizes with random weights: they take as long as trained ones,
and what they answer means nothing. Each line of the table is a process of its own that loads them
(from memory, where /dev/shm has room) and runs a recipe through LLaMA-Factory's own training code,
or our `predict`. A line that the rest of --seconds would not hold is skipped and says so; one that
is still running when they are over is stopped.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import recipe_runs
import torch
from tiny_llama import build_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from llamafactory_emotion import register
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.predict.options import PREDICTIONS
from llamafactory_emotion.predictions.sidecar import sidecar_path

LLAMA_3_8B: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
TINY = {"hidden_size": 128, "intermediate_size": 448, "num_hidden_layers": 2, "vocab_size": 6144}
# Dense bf16, from the makers' data sheets; the PCIe and NVL cards of these names are slower.
PEAK_TFLOPS = {"H100 80GB HBM3": 989.0, "NVIDIA H200": 989.0, "NVIDIA A100": 312.0}
SHM, SHM_BYTES = Path("/dev/shm"), 24 << 30  # noqa: S108 - a folder of its own is made in it
FIRST_PART_SECONDS = 60.0
LORA_FLOPS = 4
OURS = "`predict`"
COLUMNS = {  # of the table: the figure's name in the JSON file, heading, form
    "name": ("", "{}"),
    "rows_per_second": ("rows/s", "{:.1f}"),
    "tokens_per_second": ("tokens/s", "{:.0f}"),
    "gib": ("peak GiB", "{:.1f}"),
    "mfu": ("MFU", "{:.1%}"),
    "attention": ("attention", "{}"),
    "rows": ("rows", "{}"),
    "seconds": ("seconds", "{:.2f}"),
}
CAPTION = """
Rows and tokens are counted as they enter the model, padding left out. Training: {timed:g} s are
timed, after a warm-up of {warm_up} steps. MFU = 4 x parameters x tokens/s / peak: a LoRA costs 2 a
parameter and token forward and 2 backward through the activations, as the base's weights get no
gradients; recomputation under gradient checkpointing and attention's products are not counted.
Parameters: the base's without the table of input embeddings, {parameters:,}. Peak: {peak}.
Peak GiB: the most that torch allocated on the GPU. Prediction: LLaMA-Factory's greedy answers of
2 tokens, a label and the end, without its first batch and its BLEU and ROUGE; `predict`'s
probabilities of all labels, first batch included."""
LIGER = "enable_liger_kernel=true"
# Clock stops the training.
TRAIN = ("dataset=rows", "max_steps=1000000", *recipe_runs.NEITHER_SAVED_NOR_JUDGED)
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {  # what matters most comes first
    "LoRA, packed": ("emotion_lora_packed.yaml", TRAIN),
    "LoRA": ("emotion_lora.yaml", TRAIN),
    OURS: ("emotion_predict.yaml", ()),
    "LLaMA-Factory's prediction": ("emotion_predict.yaml", ("max_new_tokens=2",)),
    "LoRA, packed, Liger": ("emotion_lora_packed.yaml", (*TRAIN, LIGER)),
    "LoRA, Liger": ("emotion_lora.yaml", (*TRAIN, LIGER)),
}


def main() -> None:
    """Build the model, run the parts and print the table."""
    options = _options()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    device = "a CPU, which only checks the script"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    elif options.shape != "tiny":
        sys.exit("torch sees no CUDA GPU; --shape tiny checks this script on a CPU.")
    in_memory = SHM.is_dir() and shutil.disk_usage(SHM).free > SHM_BYTES
    with tempfile.TemporaryDirectory(dir=SHM if in_memory else None) as scratch:
        Bench(options, Path(scratch), device).print_table()


class Bench:
    """The parts, one after another, within a budget of seconds."""

    def __init__(self, options: argparse.Namespace, folder: Path, device: str) -> None:
        self.options, self.folder, self.device = options, folder, device
        self.deadline = time.monotonic() + options.seconds
        self.taken: list[float] = []  # by each part that succeeded
        known = (peak for name, peak in PEAK_TFLOPS.items() if name in device)
        self.peak = options.peak_tflops or (None if "NVL" in device else next(known, None))
        rows = recipe_runs.read_training_rows(options.data)[: options.rows]
        recipe_runs.write_data(folder / "data", {"rows": rows})
        self.parameters = _build(folder / "model", [row.text for row in rows], options.shape)

    def print_table(self) -> None:
        """Run the parts, print a line each and write all of it as JSON; exit with 1 on failure."""
        print(f"{self.options.shape} on {self.device}\n")
        headings = " | ".join(heading for heading, _ in COLUMNS.values())
        print(f"| {headings} |\n|{'---|' * len(COLUMNS)}", flush=True)
        about = {"device": self.device, "parameters": self.parameters, "peak_tflops": self.peak}
        lines: list[dict[str, Any]] = []
        for name in PARTS:
            lines.append({"name": name, **self._measure(name)})
            print(_table_row(lines[-1]), flush=True)
            if self.options.json:
                text = json.dumps({**about, "parts": lines}, indent=1)
                self.options.json.write_text(text + "\n", encoding="utf-8")
        peak = f"{self.peak:g} TFLOP/s" if self.peak else "not known, see --peak-tflops"
        print(CAPTION.format(**vars(self.options), parameters=self.parameters, peak=peak))
        sys.exit(int(any("failed" in line for line in lines)))

    def _measure(self, name: str) -> dict[str, Any]:
        """Run a part if what is left of the budget holds one as long as the longest so far."""
        if LIGER in PARTS[name][1] and not (
            torch.cuda.is_available() and find_spec("liger_kernel")
        ):
            return {"skipped": "needs a GPU and liger-kernel"}
        started = time.monotonic()
        left = self.deadline - started
        needed = max(self.taken, default=FIRST_PART_SECONDS + self.options.timed)
        if left < needed:
            return {"skipped": f"{left:.0f} s left, {needed:.0f} s needed"}
        try:
            found = self._with_rates(self._run(name, left))
        except (SystemExit, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            return {"failed": str(error).strip().splitlines()[-1][-200:].replace("|", "/")}
        self.taken.append(time.monotonic() - started)
        return {**found, "whole_seconds": self.taken[-1]}

    def _run(self, name: str, seconds: float) -> dict[str, Any]:
        recipe, overrides = PARTS[name]
        results = recipe_runs.run(
            [sys.executable, __file__, name, str(self.options.warm_up), str(self.options.timed)],
            recipe,
            f"model_name_or_path={self.folder / 'model'}",
            f"dataset_dir={self.folder / 'data'}",
            "eval_dataset=rows",
            *(() if torch.cuda.is_available() else recipe_runs.ON_A_CPU),
            *overrides,
            f"output_dir={self.folder / name}",
            timeout=seconds,
        )
        return dict(results["measured"])

    def _with_rates(self, line: dict[str, Any]) -> dict[str, Any]:
        line["rows_per_second"] = line["rows"] / line["seconds"]
        if "tokens" in line:
            rate = line["tokens_per_second"] = line["tokens"] / line["seconds"]
            if self.peak:
                line["mfu"] = LORA_FLOPS * self.parameters * rate / (self.peak * 1e12)
        return line


class Clock(TrainerCallback):
    """Counts the rows and tokens that enter the model, and times them after the warm-up."""

    def __init__(self, warm_up: int, timed: float) -> None:
        self.warm_up, self.timed = warm_up, timed
        self.started: float | None = None
        self.measured: dict[str, Any] = {}

    def on_train_begin(self, _args: Any, _state: Any, _control: Any, **given: Any) -> None:
        """Look at all that enters the model."""
        tokenizer, model = given["processing_class"], given["model"]
        self.begin, self.end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.counts = torch.zeros(2, dtype=torch.int64, device=model.device)
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _model: Any, _arguments: Any, inputs: dict[str, Any]) -> None:
        # On the device, as reading a count would wait for it. The end token pads as well.
        ids = inputs["input_ids"]
        rows = (ids == self.begin).sum()
        self.counts += torch.stack([rows, (ids != self.end).sum() + rows])

    def on_step_end(self, _args: Any, state: Any, control: Any, **given: Any) -> None:
        """Start after the warm-up; stop the training when the time is over."""
        if state.global_step == self.warm_up:
            self.counts.zero_()
            self.started = _now()
        elif self.started is not None and time.monotonic() - self.started >= self.timed:
            control.should_training_stop = True
            seconds = _now() - self.started
            rows, tokens = self.counts.tolist()
            self.measured = {"rows": rows, "tokens": tokens, "seconds": seconds}
            self.measured["steps"] = state.global_step - self.warm_up
            self._note(given["model"])

    def on_prediction_step(self, args: Any, _state: Any, _control: Any, **given: Any) -> None:
        """Start after the first batch."""
        if self.started is None:
            self.started = _now()
            return
        rows = len(given["eval_dataloader"].dataset) - args.per_device_eval_batch_size
        self.measured = {"rows": rows, "seconds": _now() - self.started}
        self._note(given["model"])

    def _note(self, model: Any) -> None:
        attention = model.config._attn_implementation
        self.measured |= {"attention": attention, "dtype": str(model.dtype)}


def _now() -> float:
    """Return the time when the device has done all it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def _run_child(name: str, warm_up: int, timed: float, arguments: list[str]) -> None:
    """Run a recipe in this process and write what was measured into its output_dir."""
    output = Path(arguments[-1].removeprefix("output_dir="))
    if name == OURS:
        if predict.main(arguments):
            sys.exit(1)
        sidecar = json.loads(sidecar_path(output / PREDICTIONS).read_text(encoding="utf-8"))
        measured = {key: sidecar[key] for key in ("rows", "seconds")}
    else:
        from llamafactory.train.tuner import run_exp

        register()  # the start-up hook is off where a package is found by PYTHONPATH alone
        clock = Clock(warm_up, timed)
        sys.argv = [sys.argv[0], *arguments]
        run_exp(callbacks=[clock])
        measured = clock.measured or sys.exit("nothing was left to time after the warm-up")
    if torch.cuda.is_available():
        measured["gib"] = torch.cuda.max_memory_allocated() / (1 << 30)
    (output / "gpu_results.json").write_text(json.dumps({"measured": measured}), encoding="utf-8")


def _build(folder: Path, texts: list[str], shape: str) -> int:
    """Save a random Llama and a tokenizer of the texts; return how many parameters multiply."""
    tokenizer = build_tokenizer(texts)
    sizes = LLAMA_3_8B | (TINY if shape == "tiny" else {})
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    device, dtype = (
        ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**sizes, **ends))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, max_shard_size="4GB")
    tokenizer.save_pretrained(folder)
    parameters = int(model.num_parameters() - model.get_input_embeddings().weight.numel())
    del model
    torch.cuda.empty_cache()  # the parts are processes of their own and need the memory
    return parameters


def _table_row(line: dict[str, Any]) -> str:
    for why in ("skipped", "failed"):
        if why in line:
            return f"| {line['name']} | {why}: {line[why]} |{' |' * (len(COLUMNS) - 2)}"
    cells = [form.format(line[key]) if key in line else "-" for key, (_, form) in COLUMNS.items()]
    return f"| {' | '.join(cells)} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--shape", choices=("llama3-8b", "tiny"), default="llama3-8b")
    add("--seconds", type=float, default=480, help="the budget for everything")
    add("--timed", type=float, default=20, help="seconds of training that are timed")
    add("--warm-up", type=int, default=3, help="steps before them, at least 1")
    add("--data", type=Path, default=recipe_runs.DEMO, help="a folder with a labelled train.jsonl")
    add("--rows", type=int, default=4000, help="rows to train on and to predict, at least 64")
    add("--peak-tflops", type=float, help="of another GPU: dense, bf16")
    add("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        _run_child(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
    else:
        main()
