"""How much arithmetic a picture with its conversation costs, counted from a model's layers.

What a training needs, not what an implementation does: nothing is counted twice because it is computed twice.
"""

from collections.abc import Collection
from typing import Any

from torch import nn

from addressvlm.model.lora import linear_layers, part_of, vision_layers_used


def training_flops(
    model: nn.Module,
    *,
    tokens: float,
    labels: float,
    rank: int,
    adapted: Collection[str] = ("vision", "language"),
) -> float:
    """Floating-point operations to learn from one conversation of `tokens` (its picture's with them).

    Layers with adapters cost forwards and, for the gradient of their input, backwards the same again; the
    adapters themselves three times. Attention of the language model is causal. The head runs on `labels`, and
    so does the last layer but for its keys and values.
    """
    config: Any = model.config
    text, vision = config.text_config, config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    class_tokens = 1 if config.vision_feature_select_strategy == "default" else 0
    read = {"vision": patches + class_tokens, "language": tokens}
    weights = {"vision": 0.0, "language": 0.0}  # times the tokens that they run on
    ends = {"vision": 0.0, "language": 0.0}
    for name in linear_layers(model):
        layer: Any = model.get_submodule(name)
        part = str(part_of(name))
        runs_on = labels if _is_behind_keys(name, text.num_hidden_layers) else read[part]
        weights[part] += layer.in_features * layer.out_features * runs_on
        ends[part] += (layer.in_features + layer.out_features) * runs_on
    layers = {"vision": vision_layers_used(model), "language": text.num_hidden_layers}
    width = {"vision": vision.hidden_size, "language": text.hidden_size}
    total = 0.0
    for part in ("vision", "language"):
        seen = read[part] / (2 if part == "language" else 1)
        asking = read[part] * layers[part]
        if part == "language":
            asking += labels - tokens
        attention = 4 * asking * seen * width[part]
        passed_back = part == "language" or part in adapted
        total += 2 * weights[part] * (2 if passed_back else 1)
        total += attention * (3.5 if passed_back else 1)
        if part in adapted:
            total += 6 * rank * ends[part]
    projector = vision.hidden_size * text.hidden_size + text.hidden_size**2
    head = text.hidden_size * text.vocab_size
    return float(total + 6 * projector * patches + 4 * head * labels)


def _is_behind_keys(name: str, layers: int) -> bool:
    """Whether a linear layer comes behind the keys and values of the language model's last layer."""
    last = f"language_model.layers.{layers - 1}."
    return last in name and not name.endswith(("qkv_proj", "k_proj", "v_proj"))
