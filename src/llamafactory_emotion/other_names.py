"""What other trainers, and older versions, call the keys of LLaMA-Factory: to today's name."""

from collections.abc import Mapping
from types import MappingProxyType

_LENGTHS = (
    *("max_seq_length", "max_seq_len", "max_source_length", "max_target_length"),
    *("sequence_len", "seq_length", "max_length", "max_prompt_length"),
)
_BATCH_SIZES = ("batch_size", "train_batch_size", "micro_batch_size", "per_device_batch_size")
OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_LENGTHS, "cutoff_len"),
        **dict.fromkeys(("load_in_4bit", "load_in_8bit", "bits"), "quantization_bit"),
        "evaluation_strategy": "eval_strategy",
        "lora_r": "lora_rank",
        **dict.fromkeys(("lora_target_modules", "target_modules", "lora_modules"), "lora_target"),
        **dict.fromkeys(_BATCH_SIZES, "per_device_train_batch_size"),
        **dict.fromkeys(("num_epochs", "epochs"), "num_train_epochs"),
        **dict.fromkeys(("val_dataset", "test_dataset"), "eval_dataset"),
        **dict.fromkeys(("train_dataset", "datasets", "train_file"), "dataset"),
        **dict.fromkeys(
            ("dev_ratio", "val_ratio", "test_size", "val_set_size", "split_dataset_ratio"),
            "val_size",
        ),
        **dict.fromkeys(("base_model", "model"), "model_name_or_path"),
        **dict.fromkeys(("adapter", "adapters", "lora_path"), "adapter_name_or_path"),
        **dict.fromkeys(("train_type", "tuner_type", "peft_type"), "finetuning_type"),
        **dict.fromkeys(("wandb", "use_wandb"), "report_to: wandb"),
        "lr": "learning_rate",
        "attn_implementation": "flash_attn",
        "system_prompt": "default_system",
        "group_by_length": "train_sampling_strategy: group_by_length",
        "use_lora": "finetuning_type: lora",
        # Names that LLaMA-Factory had itself, and that are not near to those of today.
        "new_special_tokens": "add_special_tokens",
        "checkpoint_dir": "adapter_name_or_path",
        **dict.fromkeys(("use_auth_token", "hf_auth_token"), "hf_hub_token"),
        "dpo_loss": "pref_loss",
        "neft_alpha": "neftune_noise_alpha",
        "image_resolution": "image_max_pixels",
        "video_resolution": "video_max_pixels",
        "ref_model_checkpoint": "ref_model_adapters",
        "reward_model_checkpoint": "reward_model_adapters",
        "prompt_template": "template",
        "cache_path": "tokenized_path",
        "sft_packing": "packing",
        "name_module_trainable": "freeze_trainable_modules",
        "num_layer_trainable": "freeze_trainable_layers",
    }
)
