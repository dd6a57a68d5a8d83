import pytest
from transformers import LlavaConfig

from addressvlm.errors import UsageError
from addressvlm.model.backbone import build_backbone
from addressvlm.model.presets import PRESETS, preset
from addressvlm.model.tokenizer import mini_tokenizer


@pytest.mark.parametrize("name", ["mini", "mini-siglip"])
def test_mini_preset_is_small(name: str) -> None:
    weights = sum(weight.numel() for weight in build_backbone(name, seed=0).model.parameters())
    assert 1_000_000 < weights < 5_000_000


@pytest.mark.parametrize(
    ("name", "vision", "text"),
    [("mini", "clip_vision_model", "phi3"), ("mini-siglip", "siglip_vision_model", "qwen2")],
)
def test_presets_are_the_two_families_of_the_paper(name: str, vision: str, text: str) -> None:
    config = preset(name).config(mini_tokenizer())
    assert isinstance(config, LlavaConfig)
    assert (config.vision_config.model_type, config.text_config.model_type) == (vision, text)


@pytest.mark.parametrize("name", PRESETS)
def test_text_config_names_its_architecture(name: str) -> None:
    architectures = preset(name).config(mini_tokenizer()).text_config.architectures
    assert architectures in (["Phi3ForCausalLM"], ["Qwen2ForCausalLM"])


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'mini-siglip'"):
        preset("mini_siglip")


def test_unknown_preset_lists_all_when_none_is_near() -> None:
    with pytest.raises(UsageError, match="there are 'mini', 'mini-siglip'"):
        preset("gpt")
