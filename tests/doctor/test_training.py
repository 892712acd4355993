"""Settings of training, evaluation and prediction that do not go together."""

import pytest
from doctor_calls import PREDICT, is_told, serious

pytestmark = pytest.mark.filterwarnings("ignore")

BEST = {"eval_dataset": "long", "eval_strategy": "epoch", "load_best_model_at_end": True,
        "save_strategy": "epoch", "cutoff_len": 4096}  # fmt: skip
BROKEN = [
    ({"fp16": True}, "precision", "exclude each other", "bf16"),
    ({"bf16": False, "fp16": True, "finetuning_type": "full"}, "precision", "NaN", "bf16"),
    ({"flash_attn": "fa2", "bf16": False}, "attention", "FlashAttention-2 computes", "bf16"),
    ({"neat_packing": True, "flash_attn": "fa2"}, "packing", "stops", "batch_size: 1"),
    ({"packing": True}, "packing", "attend to one another", "neat_packing"),
    ({"quantization_bit": 4, "finetuning_type": "full"}, "refused", "only compatible with", "mend"),
    ({"quantization_bit": 5}, "quantization", "does not make 5 bits", "4 or 8"),
    ({"quantization_bit": 4, "quantization_method": "gptq"}, "quantization", "nothing", "bnb"),
    ({"quantization_bit": 8, "deepspeed": "zero3.json"}, "quantization", "ZeRO-3", "4 with bnb"),
    ({"deepspeed": "gone.json"}, "deepspeed", "cannot be read", "examples/deepspeed"),
    ({"deepspeed": "broken.json"}, "deepspeed", "not valid JSON", "examples/deepspeed"),
    ({"deepspeed": "list.json"}, "deepspeed", "no JSON object", "examples/deepspeed"),
    ({**PREDICT, "deepspeed": "zero3.json"}, "deepspeed", "does not predict", "predict"),
    ({"deepspeed": "zero3.json", "pure_bf16": True}, "deepspeed", "does not go", "bf16"),
    ({"output_dir": "saves/trained"}, "output", "goes on from it", "another output_dir"),
    ({"output_dir": "saves/tiny_base"}, "output", "a trained model already", "another"),
    ({"resume_from_checkpoint": "saves/none"}, "output", "is not there", "checkpoint-N"),
    ({"split_special_tokens": True}, "template", "split_special_tokens", "remove"),
    ({**BEST, "save_strategy": "steps"}, "refused", "strategy to match", "mend"),
    ({**BEST, "metric_for_best_model": "accuracy"}, "evaluation", "no accuracy", "compute_acc"),
    ({**BEST, "metric_for_best_model": "f1_macro", "compute_accuracy": True, "template": "default"},
     "evaluation", "there is no f1_macro", "template: emotion"),
    ({**BEST, "metric_for_best_model": "accuracy", "predict_with_generate": True,
      "template": "default"}, "evaluation", "there is no accuracy", "bleu-4"),
    ({**BEST, "metric_for_best_model": "eval_f1"}, "evaluation", "there is no f1", "loss"),
    ({**BEST, "compute_accuracy": True, "eval_on_each_dataset": True,
      "metric_for_best_model": "eval_accuracy"}, "evaluation", "no accuracy", "long_accuracy"),
    ({**BEST, "compute_accuracy": True, "greater_is_better": False,
      "metric_for_best_model": "accuracy"}, "evaluation", "the worst", "remove"),
    ({"early_stopping_steps": 3}, "evaluation", "without an evaluation", "eval_strategy"),
    ({"eval_dataset": "sound", "do_eval": True}, "evaluation", "trained on and", "another"),
    ({**PREDICT, "do_sample": None}, "prediction", "sampling is on", "do_sample: false"),
    ({**PREDICT, "max_new_tokens": None}, "prediction", "1024 tokens", "max_new_tokens: 8"),
    ({**PREDICT, "predict_with_generate": None}, "refused", "enable `predict_with", "mend"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "check", "said", "remedy"), BROKEN, ids=str)
def test_settings_that_do_not_go_together_are_told(look, changes, check, said, remedy):
    found = look(**changes)["recipe"]

    assert is_told(found, check, said, remedy), found


def test_a_run_that_generates_chooses_by_its_labels(look):
    found = look(**BEST, predict_with_generate=True, metric_for_best_model="f1_macro")

    assert serious(found["recipe"], "evaluation") == []


def test_an_adapter_is_not_merged_into_a_quantised_base(look):
    found = look(
        do_train=None, stage=None, dataset=None, output_dir=None, bf16=None, export_dir="saves/x",
        report_to=None, per_device_train_batch_size=None, quantization_bit=8,
        adapter_name_or_path="saves/adapter",
    )  # fmt: skip

    assert is_told(found["recipe"], "quantization", "merged into a quantised base")
