import copy

import pytest
import torch

from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.conversation import IGNORED, Turn, encode_conversation
from addressvlm.model.embedding import picture_features
from addressvlm.model.lora import PARTS, add_adapter
from addressvlm.training import quicklayers
from addressvlm.training.batches import Sample, collate
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.quicklayers import attended_by_kernel, ends_with_wanted, use_quick_layers

TURNS = [Turn("Which street is this?", "Forbes Avenue"), Turn("Is it Oak Street?", "No")]


def batch(backbone: Backbone, rounds: str) -> dict[str, torch.Tensor]:
    size = backbone.preprocessing.size_px
    pixels = torch.arange(2 * 3 * size * size).reshape(2, 1, 3, size, size).to(torch.uint8).numpy()
    samples = [
        Sample(
            "p",
            encode_conversation(backbone.tokenizer, turns, image_tokens=backbone.image_tokens, rounds=rounds),
            picture,
        )
        for turns, picture in zip([TURNS, TURNS[:1]], pixels, strict=True)
    ]
    found = collate(samples, pad_id=backbone.tokenizer.pad_token_id)
    del found["photos"]
    return found


@pytest.mark.parametrize("rounds", ["chain", "star"])
@pytest.mark.parametrize(
    ("preset", "dtype", "most"),
    [
        ("tiny", torch.float32, 1e-5),  # Phi-3's norm is in float32 whatever comes in
        ("mini-siglip", torch.float64, 1e-12),  # in float32 CPUs differ by more than we do
    ],
)
def test_loss_and_gradients_of_adapters_are_hugging_faces_and_pefts(
    preset: str, dtype: torch.dtype, most: float, rounds: str
) -> None:
    """Stock layers, stock attention, peft's adapters; a star with the mask that they take."""
    backbone = build_backbone(preset, seed=0)
    data = batch(backbone, rounds)
    theirs = add_adapter(backbone.model, PARTS, rank=2, alpha=4, dropout=0.0, seed=0).train()
    for name, weight in theirs.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    theirs = theirs.to(dtype)
    ours = copy.deepcopy(theirs)
    loss = AnswerLoss(ours, backbone.preprocessing, bf16=False)(**data)["loss"]
    loss.backward()
    mask = data.get("mask", (data["input_ids"] != backbone.tokenizer.pad_token_id).long())
    expected = theirs(
        input_ids=data["input_ids"],
        attention_mask=mask.to(dtype) if mask.is_floating_point() else mask,
        position_ids=data.get("position_ids"),
        pixel_values=backbone.preprocessing.normalise(data["pixels"]).to(dtype),
        labels=data["labels"],
    ).loss
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    found = dict(ours.named_parameters())
    for name, weight in theirs.named_parameters():
        if weight.requires_grad:
            difference = (found[name].grad - weight.grad).norm() / weight.grad.norm()
            assert difference < most, name


def test_blocks_of_a_long_causal_attention_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def learn() -> tuple[torch.Tensor, torch.Tensor]:
        qkv = torch.randn(2, 11, 3 * 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        out = quicklayers._attend(qkv, 4, 0.5, None, None, None, True)
        out.square().sum().backward()
        return out.detach(), qkv.grad

    whole = learn()
    monkeypatch.setattr(quicklayers, "_BLOCK", 3)
    assert quicklayers._blocks(11, ahead=False)[1] == (slice(2, 5), slice(0, 5))
    for one, other in zip(learn(), whole, strict=True):
        torch.testing.assert_close(one, other)


def test_known_layers_are_replaced(tiny: Backbone) -> None:
    # Two vision layers with attention and MLP; one of the language model, itself the last, and three norms.
    assert use_quick_layers(tiny.model) == 2 * 2 + 2 + 1 + 3


@pytest.mark.parametrize("rounds", ["chain", "star"])
@pytest.mark.parametrize("pack", [False, True])
def test_the_last_layer_gives_an_outcome_for_learned_tokens_only(*, pack: bool, rounds: str) -> None:
    backbone = build_backbone("mini", seed=0)
    data = batch(backbone, rounds)
    read: list[list[int]] = []
    loss = AnswerLoss(backbone.model, backbone.preprocessing, bf16=False, pack=pack)
    for layer in backbone.model.model.language_model.layers:
        layer.mlp.register_forward_pre_hook(lambda _, inputs: read.append(list(inputs[0].shape[:2])))
    loss(**data)
    *earlier, last = read
    learned = data["labels"] != IGNORED
    packed = [1, int(learned.flip(1).cummax(1).values.sum())]  # up to the last label of each chain
    assert last == [1, int(learned.sum())]
    assert all(shape == (packed if pack and rounds == "chain" else [*learned.shape]) for shape in earlier)


def test_without_wanted_tokens_the_last_layer_gives_all(tiny: Backbone) -> None:
    language_model = tiny.model.model.language_model
    width = language_model.config.hidden_size
    inputs = torch.randn(2, 7, width, generator=torch.Generator().manual_seed(0))
    expected = language_model(inputs_embeds=inputs).last_hidden_state
    assert not ends_with_wanted(language_model)
    use_quick_layers(tiny.model)
    assert ends_with_wanted(language_model)
    torch.testing.assert_close(language_model(inputs_embeds=inputs).last_hidden_state, expected)


@pytest.mark.parametrize("preset", ["tiny", "mini-siglip"])
def test_pictures_are_seen_as_hugging_face_sees_them(preset: str) -> None:
    backbone = build_backbone(preset, seed=0)
    size = backbone.preprocessing.size_px
    images = torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    expected = backbone.model.model.get_image_features(
        pixel_values=images,
        vision_feature_layer=backbone.model.config.vision_feature_layer,
        vision_feature_select_strategy=backbone.model.config.vision_feature_select_strategy,
        return_dict=True,
    ).pooler_output
    found = picture_features(backbone.model, images)
    torch.testing.assert_close(found, torch.stack(list(expected)), rtol=1e-5, atol=1e-6)


def test_the_tower_ends_with_the_layer_that_is_read(tiny: Backbone) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("this layer is not read")

    tiny.model.model.vision_tower.encoder.layers[-1].register_forward_pre_hook(fail)  # feature layer -2
    loss = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)(**batch(tiny, "chain"))["loss"]
    assert torch.isfinite(loss)


@pytest.mark.parametrize("rounds", ["chain", "star"])
def test_the_kernel_of_gpus_says_the_same(
    rounds: str, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(model: torch.nn.Module) -> tuple[float, torch.Tensor]:
        adapted = add_adapter(model, PARTS, rank=2, alpha=4, dropout=0.0, seed=0).train()
        loss = AnswerLoss(adapted, tiny.preprocessing, bf16=False)(**batch(tiny, rounds))["loss"]
        loss.backward()
        trained = [weight.grad.flatten() for weight in adapted.parameters() if weight.requires_grad]
        return loss.item(), torch.cat(trained)

    copied = copy.deepcopy(tiny.model)
    loss, gradients = learn(tiny.model)
    monkeypatch.setattr(quicklayers, "_attend", attended_by_kernel)
    other_loss, other = learn(copied)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    assert (other - gradients).norm() < 1e-5 * gradients.norm()


def test_frozen_weights_in_bfloat16_are_close_to_float32() -> None:
    backbone = build_backbone("mini", seed=0)
    data = batch(backbone, "star")

    def learn(*, bf16: bool, halve: bool) -> tuple[float, torch.Tensor]:
        adapted = add_adapter(copy.deepcopy(backbone.model), PARTS, rank=2, alpha=4, dropout=0.0, seed=0)
        loss = AnswerLoss(adapted.train(), backbone.preprocessing, bf16=bf16, halve=halve)(**data)["loss"]
        loss.backward()
        found = [w.grad.flatten() for w in adapted.parameters() if w.requires_grad and w.grad is not None]
        assert all(gradient.dtype == torch.float32 for gradient in found)
        return loss.item(), torch.cat(found)

    truth, gradients = learn(bf16=False, halve=False)
    autocast, by_autocast = learn(bf16=True, halve=False)
    halved, by_halves = learn(bf16=True, halve=True)
    assert abs(halved - truth) < 2 * abs(autocast - truth) + 0.01 * truth
    assert (by_halves - gradients).norm() < 2 * (by_autocast - gradients).norm()
