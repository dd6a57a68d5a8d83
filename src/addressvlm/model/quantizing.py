"""Weights in four bits under adapters (QLoRA), by bitsandbytes: an extra, for CUDA GPUs."""

from importlib.util import find_spec
from typing import Any, Literal

import torch

from addressvlm.errors import UsageError

Quantization = Literal["none", "nf4"]


def require_quantizer(quantization: Quantization) -> None:
    """Refuse four bits where they cannot be had."""
    if quantization == "none":
        return
    if not torch.cuda.is_available():
        raise UsageError(f"quantization = {quantization} needs a CUDA GPU, and there is none; use none")
    if find_spec("bitsandbytes") is None:
        raise UsageError(f"quantization = {quantization} needs bitsandbytes: `pip install addressvlm[qlora]`")


def quantization_config(quantization: Quantization) -> Any:
    """What Transformers takes to load the language model in four bits; None for none.

    The vision tower, the projector and the head stay as they are, as in xtuner's recipes.
    """
    if quantization == "none":
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["vision_tower", "multi_modal_projector", "merger", "lm_head"],
    )
