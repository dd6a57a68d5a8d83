import pytest
import torch
from torch import nn

from addressvlm.model.backbone import build_backbone
from addressvlm.training.attention import plain_attention, use_plain_attention


class Attention(nn.Module):
    def __init__(self, *, is_causal: bool):
        super().__init__()
        self.is_causal = is_causal


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_it_is_scaled_dot_product_attention(is_causal: bool, key_heads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 7, 8, generator=generator)
    key, value = torch.randn(2, 2, key_heads, 7, 8, generator=generator)
    ours, _ = plain_attention(Attention(is_causal=is_causal), query, key, value, None, scaling=8**-0.5)
    theirs = nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=is_causal, enable_gqa=True
    )
    torch.testing.assert_close(ours, theirs.transpose(1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", ["mini", "mini-siglip"])
def test_models_say_the_same_with_it(preset: str) -> None:
    backbone = build_backbone(preset, seed=0)
    image = backbone.tokenizer.convert_tokens_to_ids("<image>")
    ids = torch.tensor([[1, *[image] * backbone.image_tokens, 40, 50, 60]])
    size = backbone.preprocessing.size_px
    pixels = torch.linspace(-2, 2, 3 * size * size).reshape(1, 3, size, size)
    with torch.inference_mode():
        before = backbone.model(input_ids=ids, pixel_values=pixels).logits
        use_plain_attention(backbone.model)
        after = backbone.model(input_ids=ids, pixel_values=pixels).logits
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
