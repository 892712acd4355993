"""How fast are texts classified? Ours beside LLaMA-Factory, lm-evaluation-harness and the floor.

    python benchmarks/scoring_speed.py [--rows 512] [--few-shot-tokens 400] [--several-tokens]
    python benchmarks/scoring_speed.py --base saves/smollm2 --adapter saves/emotion_cpu

One model (a random Llama of 67 M parameters, or --base), the same rows, the same prompts, one
after another in one process tree. Loading and a warm-up on the first rows are not timed.

    ours              the label scorer, as predict runs it
    ours, unmerged    the same with the adapter beside the weights
    LLaMA-Factory     llamafactory-cli train examples/emotion_predict.yaml, greedy, 2 new tokens
                      (a label of several tokens: as many as the longest and the end token)
    lm-eval           lm-evaluation-harness's log-likelihoods of the same choices
    plain forward     transformers, whole prompts in input order, last position, left padding
    floor             a dense forward over exactly as many tokens as must be computed
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tiny_llama import build_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.predictions.reading import BrokenRows, read_predictions
from llamafactory_emotion.scoring.models import ModelSource, load_model
from llamafactory_emotion.scoring.scorer import LabelScorer, open_scorer
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION, Task

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "dair_emotion"
DEMO = ROOT / "data"
WARM_UP_ROWS, BATCH = 32, 32
# As wide as a Llama 2: the small vocabulary of the tokenizer would flatter who multiplies it all.
OUTPUT_WIDTH = 32_000
SEVERAL = ("deep sadness", "pure joy", "tender love", "hot anger", "cold fear", "sudden surprise")


def main() -> None:
    """Measure and print a table."""
    options = _options()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    folder = REAL if REAL.is_dir() else DEMO
    train, test = _files(folder)
    texts = [row.text for row in read_texts(test)][: options.rows]
    task = replace(EMOTION, labels=SEVERAL, aliases={}) if options.several_tokens else EMOTION
    with tempfile.TemporaryDirectory() as scratch:
        model = options.base or _random_model(Path(scratch) / "model", train)
        task = _with_examples(task, train, model, options.few_shot_tokens)
        print(f"{len(texts)} texts of {folder.name}, {options.threads} threads, {model}")
        given = model, options.adapter, task, texts, Path(scratch), options.repeats
        Measurement(*given).print_table()


class Measurement:
    """One model, one task and some texts, classified in every way there is here."""

    def __init__(
        self,
        model: str,
        adapter: str | None,
        task: Task,
        texts: Sequence[str],
        scratch: Path,
        repeats: int,
    ) -> None:
        self.model, self.adapter, self.task, self.texts = model, adapter, task, list(texts)
        self.scratch, self.repeats = scratch, repeats
        self.scorer = open_scorer(model, task, adapter=adapter, device="cpu")
        self.plain = self.scorer.loaded.model
        self.prompts = [list(prompt.ids) for prompt in self.scorer.encoder.encode(texts)]

    def print_table(self) -> None:
        """Time every way and print rows a second, ratios and agreement."""
        encoder = self.scorer.encoder
        shared = len(encoder.prefix_ids)
        own = sum(len(ids) - shared for ids in self.prompts) / len(self.prompts)
        lengths = sorted(len(ids) for ids in encoder.label_ids)
        print(f"shared prefix {shared} tokens, {own:.1f} own a text, labels of {lengths} tokens")
        self.scorer.score(self.texts[:WARM_UP_ROWS])
        self._floor(self.prompts[:WARM_UP_ROWS])
        ways: dict[str, Callable[[], object]] = {
            "floor": lambda: self._floor(self.prompts),
            "ours": lambda: self.scorer.score(self.texts),
            "plain forward": self._plain_forward,
        }
        if self.adapter:
            source = ModelSource(self.model, self.adapter, device="cpu")
            unmerged = LabelScorer(load_model(source, merge=False), self.task)
            unmerged.score(self.texts[:WARM_UP_ROWS])
            ways["ours, unmerged"] = lambda: unmerged.score(self.texts)
        if find_spec("lm_eval"):
            ways["lm-eval"] = self._lm_eval()
        seconds, results = self._time_in_turn(ways)
        scores = self.scorer.score(self.texts)
        predictions = scores.predictions
        if self.adapter:
            beside: Any = results["ours, unmerged"]
            difference = abs(scores.log_scores - beside.log_scores).max()
            print(
                f"merged and unmerged: {_agreement(predictions, beside.predictions)} labels agree, "
                f"largest difference of a logit {difference:.1e}"
            )
        answers, seconds["LLaMA-Factory"] = self._llamafactory()
        if "lm-eval" in results:
            theirs = self._best(results["lm-eval"])
            print(f"labels agree with lm-eval: {_agreement(predictions, theirs)}")
        first = [answer.split(maxsplit=1)[0] if answer else "" for answer in answers]
        labels = [row for row, word in enumerate(first) if word in self.task.labels]
        same = sum(first[row] == predictions[row] for row in labels)
        print(f"labels agree with LLaMA-Factory: {same} of {len(labels)} greedy answers of a label")
        print(f"{'':16} {'rows/s':>9} {'seconds':>9} {'ours is faster by':>18}")
        for name, taken in sorted(seconds.items(), key=lambda item: item[1]):
            rate, ratio = len(self.texts) / taken, taken / seconds["ours"]
            print(f"{name:16} {rate:9.1f} {taken:9.2f} {ratio:18.2f}")

    def _time_in_turn(
        self, ways: Mapping[str, Callable[[], object]]
    ) -> tuple[dict[str, float], dict[str, object]]:
        """Time each way several times, in turn, so that what else the machine does hits all."""
        taken: dict[str, list[float]] = {name: [] for name in ways}
        results: dict[str, object] = {}
        for _ in range(self.repeats):
            for name, work in ways.items():
                started = time.perf_counter()
                results[name] = work()
                taken[name].append(time.perf_counter() - started)
        return {name: statistics.median(seconds) for name, seconds in taken.items()}, results

    def _floor(self, prompts: Sequence[Sequence[int]]) -> None:
        """Run a dense forward over as many tokens as the texts and labels have, without padding."""
        shared = len(self.scorer.encoder.prefix_ids)
        inner = sum(len(ids) - 1 for ids in self.scorer.encoder.label_ids)
        total = shared + sum(len(ids) - shared + inner for ids in prompts)
        length = round((total - shared) / len(prompts))
        rows = max(1, 512 // length)
        with torch.inference_mode():
            for start in range(0, total, rows * length):
                size = max(1, min(rows, (total - start) // length))
                ids = torch.randint(10, 1000, (size, length))
                self.plain.base_model(input_ids=ids, use_cache=False)

    def _plain_forward(self) -> None:
        tokens = [ids[0] for ids in self.scorer.encoder.label_ids]
        with torch.inference_mode():
            for start in range(0, len(self.prompts), BATCH):
                batch = self.prompts[start : start + BATCH]
                longest = max(len(ids) for ids in batch)
                gaps = [longest - len(ids) for ids in batch]
                ids = torch.tensor([[0] * g + i for g, i in zip(gaps, batch, strict=True)])
                mask = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps])
                logits = self.plain(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits
                logits[:, -1, tokens].argmax(dim=-1)

    def _llamafactory(self) -> tuple[list[str], float]:
        rows = [
            {"instruction": self.task.instruction, "input": text, "output": self.task.labels[0]}
            for text in self.texts
        ]
        (self.scratch / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        entry = {"rows": {"file_name": "rows.json"}}
        (self.scratch / "dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")
        longest = max(len(ids) for ids in self.scorer.encoder.label_ids)
        command = Path(shutil.which("llamafactory-cli") or "llamafactory-cli")
        recipe = ROOT / "examples" / "emotion_predict.yaml"
        output = self.scratch / "output"
        call = [str(command), "train", str(recipe), f"model_name_or_path={self.model}"]
        call += [f"dataset_dir={self.scratch}", "eval_dataset=rows", f"output_dir={output}"]
        call += [f"max_new_tokens={longest + 1}", "cutoff_len=2048", "overwrite_cache=true"]
        call += [f"per_device_eval_batch_size={BATCH}", "use_cpu=true"]
        call += [f"adapter_name_or_path={self.adapter}"] if self.adapter else []
        done = subprocess.run(call, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"llamafactory-cli failed:\n{done.stderr[-3000:]}")
        figures = json.loads((output / "predict_results.json").read_text(encoding="utf-8"))
        broken = BrokenRows("predictions")
        found = read_predictions(output / "generated_predictions.jsonl", broken)
        return [row.predict.strip() for row in found], float(figures["predict_runtime"])

    def _lm_eval(self) -> Callable[[], list[float]]:
        """Return a call that computes the log-likelihood of every choice of every text."""
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        theirs = HFLM(
            pretrained=self.plain,
            tokenizer=self.scorer.loaded.tokenizer,
            batch_size=BATCH,
            add_bos_token=False,
        )
        prompts = self.scorer.encoder.encode(self.texts)
        requests = [
            Instance("loglikelihood", {}, (prompt.prompt, ANSWER_PREFIX + label), number)
            for number, prompt in enumerate(prompts)
            for label in self.task.labels
        ]
        warm_up = requests[: WARM_UP_ROWS * len(self.task.labels)]
        theirs.loglikelihood(warm_up, disable_tqdm=True)
        return lambda: [found for found, _ in theirs.loglikelihood(requests, disable_tqdm=True)]

    def _best(self, likelihoods: object) -> list[str]:
        """Return the likeliest label of each text."""
        rows = torch.tensor(likelihoods).view(-1, len(self.task.labels))
        return [self.task.labels[int(label)] for label in rows.argmax(dim=1)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--base", help="a model folder; a random Llama of 67 M parameters when not given")
    add("--adapter", help="a LoRA adapter for --base")
    add("--rows", type=int, default=512)
    add("--few-shot-tokens", type=int, default=0, help="examples before every text")
    add("--several-tokens", action="store_true", help="labels of several tokens")
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--repeats", type=int, default=3, help="of all but LLaMA-Factory; the median counts")
    return parser.parse_args()


def _files(folder: Path) -> tuple[Path, Path]:
    if folder == REAL:
        return folder / "train.jsonl", folder / "test.jsonl"
    return folder / "emotion_demo_train.jsonl", folder / "emotion_demo_test.jsonl"


def _random_model(folder: Path, train: Path) -> str:
    tokenizer = build_tokenizer(row.text for row in read_texts(train))
    config = LlamaConfig(
        vocab_size=OUTPUT_WIDTH,
        hidden_size=640,
        intermediate_size=1728,
        num_hidden_layers=12,
        num_attention_heads=10,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    # Make the labels likely, as training would: greedy answers are labels then, and are compared.
    for label in EMOTION.labels:
        token = tokenizer.encode(ANSWER_PREFIX + label, add_special_tokens=False)[0]
        model.lm_head.weight.data[token] *= 8
    # Ids that the tokenizer does not know would be answers without a text.
    model.lm_head.weight.data[len(tokenizer) :] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _with_examples(task: Task, train: Path, model: str, tokens: int) -> Task:
    """Put examples into the instruction until it has about so many tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    instruction = task.instruction
    for number, row in enumerate(read_texts(train)):
        if len(tokenizer.encode(instruction)) >= tokens:
            break
        label = task.labels[number % len(task.labels)]
        instruction += f"\n{row.text}{ANSWER_CUE}{ANSWER_PREFIX}{label}"
    return replace(task, instruction=instruction)


def _agreement(left: Sequence[str], right: Sequence[str]) -> str:
    return f"{sum(a == b for a, b in zip(left, right, strict=True))} of {len(left)}"


if __name__ == "__main__":
    main()
