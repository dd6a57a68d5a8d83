"""Plain `generate` of Transformers: the reference that the one pass is measured against, and samples."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import GenerationConfig

from addressvlm.inference.prompts import Pixels, normalised
from addressvlm.model.backbone import Backbone
from addressvlm.model.pictures import picture_inputs

Prompt = tuple[Sequence[int], Pixels]


def generate(backbone: Backbone, prompts: Sequence[Prompt], generation: GenerationConfig) -> list[str]:
    """Answers to all prompts (ids, pixels) at once, padded on the left; `num_return_sequences` each."""
    tokens = generate_tokens(backbone, prompts, generation)
    texts = backbone.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [text.strip() for text in texts]


@torch.inference_mode()
def generate_tokens(
    backbone: Backbone, prompts: Sequence[Prompt], generation: GenerationConfig
) -> torch.Tensor:
    """The same as token ids, (answers, tokens); behind the end of an answer stands padding."""
    model = backbone.model
    longest = max(len(ids) for ids, _ in prompts)
    tokens = torch.full((len(prompts), longest), generation.pad_token_id)  # (batch, tokens)
    for row, (ids, _) in zip(tokens, prompts, strict=True):
        row[longest - len(ids) :] = torch.tensor(ids)
    lengths = torch.tensor([[len(ids)] for ids, _ in prompts])
    mask = (torch.arange(longest) >= longest - lengths).long()
    generated = model.generate(
        input_ids=tokens.to(model.device),
        attention_mask=mask.to(model.device),
        **picture_inputs(
            model.config, normalised(np.concatenate([pixels for _, pixels in prompts]), backbone)
        ),
        generation_config=generation,
    )
    answers: torch.Tensor = generated[:, longest:]
    return answers


def generation_config(backbone: Backbone, **settings: float) -> GenerationConfig:
    """Settings of `generate` under which the weights alone decide, and an answer ends where it should."""
    padding = backbone.tokenizer.pad_token_id
    return GenerationConfig(
        eos_token_id=list(backbone.end_ids),
        pad_token_id=backbone.end_id if padding is None else padding,
        use_cache=True,
        **settings,
    )
