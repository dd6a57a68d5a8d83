"""How kinds of models take their pictures: always one square view, as so many tokens.

LLaVA and its like take the pixels as they are. LLaVA-OneVision would cut a picture into tiles and read it
once more as a whole; it gets the whole alone, as it does when it is shown several. MiniCPM-V takes patches in
a row.
"""

from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from addressvlm.errors import AddressVLMError

_MINICPM = ("minicpmv4_6", "minicpmv4_7")
# Language models that read a tree of tokens as its branches: all layers attend, to all that the mask shows.
_TREE_READERS = {"llama", "mistral", "phi3", "qwen2", "qwen3"}
_TAKEN = "models like LLaVA, LLaVA-OneVision, InternVL and MiniCPM-V 4.6 can be used"
_PLAIN_POSITIONS = {"llava", "llava_onevision", "vipllava", "internvl", "aya_vision", "cohere2_vision"}


def picture_inputs(config: Any, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Normalised pictures (n, 3, size, size) as arguments of a model with this configuration."""
    count, _, height, width = pixels.shape
    if config.model_type == "llava_onevision":
        sizes = torch.tensor([[height, width]] * count, device=pixels.device)
        # More than one picture "in the same sample" keeps the model from cutting each into tiles.
        return {
            "pixel_values": pixels,
            "image_sizes": sizes,
            "batch_num_images": torch.full((count,), 2, device=pixels.device),
        }
    if config.model_type in _MINICPM:
        patch = config.vision_config.patch_size
        rows, columns = height // patch, width // patch
        patches = pixels.reshape(count, 3, rows, patch, columns, patch).permute(1, 3, 0, 2, 4, 5)
        return {
            "pixel_values": patches.reshape(1, 3, patch, count * rows * columns * patch),
            "target_sizes": torch.tensor([[rows, columns]] * count, device=pixels.device),
        }
    return {"pixel_values": pixels}


def picture_px(config: Any) -> int:
    """Side of the square pictures that a model with this configuration reads."""
    tower = config if config.model_type in _MINICPM else getattr(config, "vision_config", None)
    size = getattr(tower, "image_size", None)
    if size is None:
        raise AddressVLMError(
            f"a model of type {config.model_type!r} has no fixed size of pictures; {_TAKEN}"
        )
    return int(size[0] if isinstance(size, list | tuple) else size)


def picture_tokens(config: Any) -> int:
    """How many tokens stand for a picture."""
    size = picture_px(config)
    if config.model_type in _MINICPM:
        # Windows of the tower take four patches together, the merger four of those.
        merged = (1 if config.downsample_mode == "4x" else 2) * 2**config.merger_times
        return int((size // config.vision_config.patch_size // merged) ** 2)
    if config.model_type in ("llava", "llava_onevision"):
        patches = int((size // config.vision_config.patch_size) ** 2)
        if config.model_type == "llava_onevision":
            return patches + 1  # behind them, a line break that is learned
        has_class_token = config.vision_config.model_type == "clip_vision_model"
        return patches + int(has_class_token and config.vision_feature_select_strategy == "full")
    return _counted(config, size)


def reads_trees(config: Any) -> bool:
    """Whether the language model can read branches that do not see each other in one pass.

    Not where a state is carried from token to token (Qwen3.5 in MiniCPM-V), where layers see a window of
    tokens, or where a place has more than one number.
    """
    text = config.get_text_config()
    windows = getattr(text, "sliding_window", None) and set(getattr(text, "layer_types", None) or ()) != {
        "full_attention"
    }
    return config.model_type in _PLAIN_POSITIONS and text.model_type in _TREE_READERS and not windows


def require_picture_size(config: PreTrainedConfig, size_px: int, where: str) -> None:
    """Refuse pictures of a size that the vision tower does not take."""
    expected = picture_px(config)
    if size_px != expected:
        raise AddressVLMError(f"{where} makes pictures of {size_px} px, the model reads {expected} px")


def _counted(config: Any, size: int) -> int:
    """Tokens of a picture by a look at the shape of what the model makes of one, without any weights."""
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)
            seen = model.get_image_features(pixel_values=torch.zeros(1, 3, size, size), return_dict=True)
        return int(torch.cat(list(seen.pooler_output)).shape[:-1].numel())
    except Exception as error:  # of any model there is
        raise AddressVLMError(
            f"a model of type {config.model_type!r} does not take plain pictures of {size} px "
            f"({error}); {_TAKEN}"
        ) from error
