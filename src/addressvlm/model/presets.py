"""Backbones by name: sizes as data, turned into Hugging Face configurations.

The mini models are the classes of the full size with small numbers; only these values tell them apart.
"""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaOnevisionConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    SiglipVisionConfig,
)

from addressvlm.errors import UsageError
from addressvlm.model.preprocessing import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD, Preprocessing
from addressvlm.model.template import END, IMAGE
from addressvlm.model.tokenizer import ASSETS


@dataclass(frozen=True)
class Tower:
    """A transformer: `family` is its Hugging Face type, `width` the hidden size, `mlp` the inner width."""

    family: Literal["clip", "siglip", "phi3", "qwen2"]
    width: int
    layers: int
    heads: int
    mlp: int
    kv_heads: int | None = None  # as many as heads


@dataclass(frozen=True)
class Preset:
    """A LLaVA-style model. `vision_feature_layer` counts from the last layer of the vision tower (-1).

    `vocabulary` is the number of rows of the embedding, or 0 for as many as the tokenizer has tokens.
    """

    vision: Tower
    text: Tower
    image_px: int
    patch_px: int
    vision_feature_layer: int
    kind: Literal["llava", "llava_onevision"] = "llava"
    vocabulary: int = 0
    context: int = 4096
    rope_theta: float = 10_000.0

    @property
    def preprocessing(self) -> Preprocessing:
        """As the family of the vision tower was trained."""
        if self.vision.family == "siglip":
            return Preprocessing(self.image_px, mean=SIGLIP_MEAN, std=SIGLIP_STD)
        return Preprocessing(self.image_px, mean=CLIP_MEAN, std=CLIP_STD)

    def config(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """The Hugging Face configuration for this tokenizer."""
        image = tokenizer.convert_tokens_to_ids(IMAGE)
        shared = {
            "vision_config": self._vision_config(),
            "text_config": self._text_config(tokenizer),
            "image_token_index": image,
            "vision_feature_layer": self.vision_feature_layer,
            # CLIP has a class token in front, which LLaVA drops; SigLIP has none.
            "vision_feature_select_strategy": "full" if self.vision.family == "siglip" else "default",
        }
        if self.kind == "llava_onevision":
            return LlavaOnevisionConfig(
                **shared, video_token_index=image, architectures=["LlavaOnevisionForConditionalGeneration"]
            )
        return LlavaConfig(
            **shared,
            image_seq_length=(self.image_px // self.patch_px) ** 2,
            architectures=["LlavaForConditionalGeneration"],
        )

    def _vision_config(self) -> PreTrainedConfig:
        sizes = dict(_sizes(self.vision), image_size=self.image_px, patch_size=self.patch_px)
        if self.vision.family == "siglip":
            return SiglipVisionConfig(**sizes, vision_use_head=False)
        return CLIPVisionConfig(**sizes, projection_dim=self.vision.width)

    def _text_config(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        family, architecture = {
            "phi3": (Phi3Config, "Phi3ForCausalLM"),
            "qwen2": (Qwen2Config, "Qwen2ForCausalLM"),
        }[self.text.family]
        return family(
            **_sizes(self.text),
            num_key_value_heads=self.text.kv_heads or self.text.heads,
            vocab_size=max(len(tokenizer), self.vocabulary),
            max_position_embeddings=self.context,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.convert_tokens_to_ids(END),
            # vLLM resolves the language model by it; configs built in memory lack it.
            architectures=[architecture],
        )


def _sizes(tower: Tower) -> dict[str, int]:
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "intermediate_size": tower.mlp,
    }


# The pictures are the hard part: a deeper tower over a small language model. Its patches are as small as a
# letter or two of a street name (10 px high): a linear layer must tell what is in a patch wherever it lies
# there, and of two letters it learns that from half as many pages as of five (docs/experiment-log.md).
_MINI = Preset(
    vision=Tower("clip", width=128, layers=6, heads=2, mlp=384),
    text=Tower("phi3", width=128, layers=3, heads=2, mlp=384),
    image_px=144,
    patch_px=12,
    vision_feature_layer=-1,
)
PRESETS = {
    "mini": _MINI,
    "mini-siglip": replace(
        _MINI, vision=replace(_MINI.vision, family="siglip"), text=replace(_MINI.text, family="qwen2")
    ),
    # The paper's: CLIP ViT-L/14 at 336 px, two linear layers, Phi-3-mini-4k.
    "llava-phi3-mini": Preset(
        vision=Tower("clip", width=1024, layers=24, heads=16, mlp=4096),
        text=Tower("phi3", width=3072, layers=32, heads=32, mlp=8192),
        image_px=336,
        patch_px=14,
        vision_feature_layer=-2,
        vocabulary=32_064,
    ),
    # SigLIP so400m, whose last layer is cut off, and Qwen2-7B.
    "llava-onevision-7b": Preset(
        vision=Tower("siglip", width=1152, layers=26, heads=16, mlp=4304),
        text=Tower("qwen2", width=3584, layers=28, heads=28, mlp=18_944, kv_heads=4),
        image_px=384,
        patch_px=14,
        vision_feature_layer=-1,
        kind="llava_onevision",
        vocabulary=152_128,
        context=32_768,
        rope_theta=1_000_000.0,
    ),
}


def shipped(name: str) -> Path | None:
    """The folder of the pre-trained weights of a preset that come with this package, if any do."""
    folder = ASSETS / name
    return folder if folder.is_dir() else None


def preset(name: str) -> Preset:
    """The preset of this name, or an error with the nearest one."""
    if name in PRESETS:
        return PRESETS[name]
    nearest = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(map(repr, PRESETS))}"
    raise UsageError(f"there is no backbone {name!r}; {hint}")
