"""A batch as the language model reads it: tokens embedded, and pictures in their places.

Hugging Face runs the whole vision tower and keeps every hidden state; here it ends with the layer whose
output the projector reads. Of 24 layers that spares one, and the weights behind it never need a gradient.
"""

from contextlib import nullcontext
from typing import Any

import torch

from addressvlm.model.lora import vision_layers_used


def embedded(model: Any, input_ids: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """What the language model reads, (batch, tokens, width), from ids (batch, tokens).

    `pictures`, (pictures, picture tokens, width), are what the picture tokens of all rows stand for, in their
    order. The model must have a known tower.
    """
    tokens: torch.Tensor = model.get_input_embeddings()(input_ids)
    places: torch.Tensor = input_ids == model.config.image_token_id
    features = pictures.flatten(0, 1).to(tokens.dtype)
    if tokens.requires_grad:
        return tokens.masked_scatter(places[..., None], features)
    tokens[places] = features
    return tokens


def picture_features(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Projected features of normalised pictures, (pictures, picture tokens, width of the language model)."""
    return projected(model, tower_features(model, images))


def tower_features(model: Any, images: torch.Tensor) -> torch.Tensor:
    """What the tower makes of normalised pictures, (pictures, picture tokens, width of the tower)."""
    tower = model.base_model.vision_tower
    hidden: torch.Tensor = tower.embeddings(images.to(tower.dtype))
    if hasattr(tower, "pre_layrnorm"):  # CLIP's, and its spelling
        hidden = tower.pre_layrnorm(hidden)
    for layer in tower.encoder.layers[: vision_layers_used(model)]:
        hidden = layer(hidden, None)
    if model.config.vision_feature_select_strategy == "default":
        hidden = hidden[:, 1:]
    return hidden


def projected(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Features of the tower as the language model reads them."""
    # The projector is trained in float32 behind a frozen tower that may be kept in less.
    with (
        torch.autocast(hidden.device.type, hidden.dtype) if hidden.dtype == torch.bfloat16 else nullcontext()
    ):
        found: torch.Tensor = model.base_model.multi_modal_projector(hidden)
    return found


def has_known_tower(model: Any) -> bool:
    """Whether the model is one whose vision tower is run layer by layer here."""
    if model.config.model_type != "llava" or not isinstance(model.config.vision_feature_layer, int):
        return False
    return type(model.base_model.vision_tower).__name__ in ("CLIPVisionModel", "SiglipVisionModel")
