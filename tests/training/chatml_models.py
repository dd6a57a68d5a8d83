"""Small random models of other families, as folders of somebody else: Qwen's template, no file of ours."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import (
    AutoModelForImageTextToText,
    InternVLConfig,
    LlavaConfig,
    LlavaOnevisionConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.minicpmv4_6 import MiniCPMV4_6Config

from addressvlm.folders import write_json
from addressvlm.model.backbone import quiet
from addressvlm.model.initialising import initialise
from addressvlm.model.tokenizer import ASSETS

CHATML = """\
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{- message.content }}
{%- else %}{%- for part in message.content %}
{%- if part.type == 'image' %}{{- 'IMAGE\\n' }}{%- else %}{{- part.text }}{%- endif %}
{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""

TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TOWER = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}

EXTRA = {
    "llava-llama": {"image_token": "<image>"},
    "llava-onevision": {"image_token": "<image>"},
    "internvl": {"image_token": "<ctx>", "start_image_token": "<img>", "end_image_token": "</img>"},
    "minicpm-v": {
        "image_token": "<|image_pad|>",
        "image_start_token": "<image>",
        "image_end_token": "</image>",
        "image_id_start_token": "<image_id>",
        "image_id_end_token": "</image_id>",
    },
}


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """The mini vocabulary under Qwen's template, with the picture tokens of a family."""
    stored = json.loads((ASSETS / "tokenizer.json").read_text("utf-8"))
    phi3 = {"<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<image>"}
    stored["added_tokens"] = [t for t in stored["added_tokens"] if t["content"] not in phi3]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(stored)),
        eos_token="<|im_end|>",
        pad_token="<pad>",
        extra_special_tokens=EXTRA[kind],
        chat_template=CHATML.replace("IMAGE", EXTRA[kind]["image_token"]),
    )
    tokenizer.add_tokens([AddedToken("<|im_start|>", special=True)], special_tokens=True)
    return tokenizer


def config_of(kind: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """A configuration of a few thousand weights."""
    image: Any = tokenizer.convert_tokens_to_ids(EXTRA[kind]["image_token"])
    text = TEXT | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    if kind == "llava-onevision":
        tower = TOWER | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14}
        return LlavaOnevisionConfig(
            vision_config=tower | {"vision_use_head": False},
            text_config=text | {"model_type": "qwen2", "num_key_value_heads": 1},
            image_token_index=image,
            video_token_index=image,
        )
    if kind == "llava-llama":
        return LlavaConfig(
            vision_config=TOWER | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14},
            text_config=text | {"model_type": "llama"},
            image_token_index=image,
            image_seq_length=4,
        )
    if kind == "internvl":
        return InternVLConfig(
            vision_config=TOWER | {"image_size": 28, "patch_size": 7},
            text_config=text | {"model_type": "qwen2", "num_key_value_heads": 1},
            image_token_id=image,
        )
    heads = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8}
    return MiniCPMV4_6Config(
        vision_config=TOWER | {"image_size": 56, "patch_size": 7},
        text_config=text
        | {"model_type": "qwen3_5_text", "num_hidden_layers": 4, "num_key_value_heads": 1, "head_dim": 16}
        | heads
        | {"linear_value_head_dim": 8},
        insert_layer_id=0,
        image_size=56,
        image_token_id=image,
        video_token_id=image,
    )


def folder_of(kind: str, folder: Path) -> Path:
    """A model folder of a family, with random weights."""
    tokenizer = tokenizer_of(kind)
    model = AutoModelForImageTextToText.from_config(config_of(kind, tokenizer))
    with torch.no_grad():
        initialise(model, seed=0)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json", {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    )
    return folder
