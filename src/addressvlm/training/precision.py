"""In which precision a stage computes."""

import torch

from addressvlm.training.stages import Stage


def computes_in_bf16(stage: Stage) -> bool:
    """Whether the stage computes in bfloat16 here: on a GPU, or on a CPU with instructions for it."""
    if stage.bf16 != "auto":
        return stage.bf16 == "true"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
