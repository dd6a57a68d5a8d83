"""The paper's model, value by value, as the code has it: the first table of docs/recipes.md."""

from addressvlm.model.hub import HUB
from addressvlm.model.pictures import picture_tokens
from addressvlm.model.presets import PRESETS, Preset
from addressvlm.model.template import PHI3_TEMPLATE
from addressvlm.model.tokenizer import mini_tokenizer

NAME = "llava-phi3-mini"
_OURS = "**our choice**: "


def model_facts() -> list[tuple[str, str, str]]:
    """What, value, and source."""
    preset = PRESETS[NAME]
    vision, text = preset.vision, preset.text
    config = preset.config(mini_tokenizer())
    return [
        (
            "backbone",
            f"`{HUB[NAME]}`",
            "Sec. 4.1: LLaVA-Phi3-mini in xtuner; its vision tower is not OpenAI's",
        ),
        (
            "vision tower",
            f"{_sizes(preset, 'vision')}, {preset.image_px} px in patches of {preset.patch_px}",
            "Sec. 4.1",
        ),
        ("language model", f"{_sizes(preset, 'text')}, {preset.vocabulary} tokens", "Sec. 4.1"),
        (
            "projector",
            f"{vision.width} → {text.width} → {text.width}, {config.projector_hidden_act} between",
            "Sec. 4.1: two-layer MLP",
        ),
        ("tokens of a picture", f"{picture_tokens(config)}", "follows from the tower"),
        (
            "features",
            f"hidden state {preset.vision_feature_layer}"
            + (", without the class token" if config.vision_feature_select_strategy == "default" else ""),
            f"{_OURS}LLaVA's and xtuner's",
        ),
        (
            "pictures become square by",
            f"`{preset.preprocessing.fit}`",
            f"{_OURS}xtuner's; a grafted picture is square already",
        ),
        ("colour of the padding", f"{_padding(preset)}", f"{_OURS}CLIP's mean, as LLaVA and xtuner"),
        ("resampling", "bicubic", f"{_OURS}CLIP's"),
        ("prompt", f"`{_prompt()}`", f"{_OURS}Phi-3's template as xtuner writes it"),
        ("learned", "every answer and its `<|end|>`", "Sec. 3.3; the end token is xtuner's"),
        (
            "adapters on",
            "all linear layers of both towers that a gradient reaches, not the head",
            f"{_OURS}xtuner's; the paper names the towers (Sec. 3.4)",
        ),
        ("projector", "all its weights are trained", "Sec. 3.4"),
        ("optimizer", "AdamW", f"{_OURS}xtuner's; Table A1 prints its betas"),
    ]


def _sizes(preset: Preset, which: str) -> str:
    tower = getattr(preset, which)
    return (
        f"{tower.family}, {tower.layers} layers of width {tower.width}, {tower.heads} heads, "
        f"inner width {tower.mlp}"
    )


def _padding(preset: Preset) -> str:
    return ", ".join(str(int(channel * 255)) for channel in preset.preprocessing.mean)


def _prompt() -> str:
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "QUESTION"}]},
        {"role": "assistant", "content": "ANSWER"},
    ]
    text: str = mini_tokenizer().apply_chat_template(messages, chat_template=PHI3_TEMPLATE, tokenize=False)
    return text.replace("\n", "\\n").replace("|", "\\|")
