import pytest
import torch
from torch import nn

from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import IGNORED, Rounds, Turn, encode_conversation
from addressvlm.model.lora import PARTS, add_adapter, train_parts
from addressvlm.training.batches import Sample, collate
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.packing import packing
from addressvlm.training.quicklayers import head_width_in_rows


def batch(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Two conversations of different lengths."""
    conversations = [
        [Turn("Which street is this?", "Forbes Avenue"), Turn("Is it Oak Street, Yes or No?", "No")],
        [Turn("Which district?", "Downtown")],
    ]
    pixels = torch.arange(2 * 3 * 28 * 28).reshape(2, 1, 3, 28, 28).to(torch.uint8).numpy()
    samples = [
        Sample(
            "p", encode_conversation(backbone.tokenizer, turns, image_tokens=backbone.image_tokens), picture
        )
        for turns, picture in zip(conversations, pixels, strict=True)
    ]
    found = collate(samples, pad_id=backbone.tokenizer.pad_token_id)
    del found["photos"]
    return found


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: w.grad for n, w in model.named_parameters() if w.grad is not None and w.requires_grad}


def test_loss_and_gradients_are_hugging_faces(tiny: Backbone) -> None:
    data = batch(tiny)
    train_parts(tiny.model, PARTS)
    ours = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)(**data)["loss"]
    ours.backward()
    mine = gradients(tiny.model)
    tiny.model.zero_grad()
    theirs = tiny.model(
        input_ids=data["input_ids"],
        attention_mask=(data["input_ids"] != tiny.tokenizer.pad_token_id).long(),
        pixel_values=tiny.preprocessing.normalise(data["pixels"]),
        labels=data["labels"],
    ).loss
    theirs.backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    for name, gradient in gradients(tiny.model).items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-6)


def test_loss_over_a_given_count_is_the_sum_over_it(tiny: Backbone) -> None:
    data = batch(tiny)
    loss = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)
    labels = int((data["labels"] != IGNORED).sum())
    half = loss(**data, num_items_in_batch=torch.tensor(2 * labels))["loss"]
    torch.testing.assert_close(2 * half, loss(**data)["loss"])


def test_padding_changes_nothing(tiny: Backbone) -> None:
    data = batch(tiny)
    loss = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)
    pad = torch.full((2, 7), tiny.tokenizer.pad_token_id)
    padded = data | {
        "input_ids": torch.cat([data["input_ids"], pad], 1),
        "labels": torch.cat([data["labels"], torch.full((2, 7), IGNORED)], 1),
    }
    torch.testing.assert_close(loss(**padded)["loss"], loss(**data)["loss"], rtol=1e-5, atol=0)


def test_loss_is_the_same_through_an_adapter(tiny: Backbone) -> None:
    data = batch(tiny)
    before = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)(**data)["loss"]
    adapted = add_adapter(tiny.model, PARTS, rank=2, alpha=4, dropout=0.0, seed=0)
    torch.testing.assert_close(AnswerLoss(adapted, tiny.preprocessing, bf16=False)(**data)["loss"], before)


@pytest.mark.parametrize("bf16", [False, True])
def test_loss_is_float32(tiny: Backbone, bf16: bool) -> None:
    assert AnswerLoss(tiny.model, tiny.preprocessing, bf16=bf16)(**batch(tiny))["loss"].dtype == torch.float32


def test_bfloat16_is_close(tiny: Backbone) -> None:
    data = batch(tiny)
    fine, coarse = (AnswerLoss(tiny.model, tiny.preprocessing, bf16=b)(**data)["loss"] for b in (False, True))
    torch.testing.assert_close(coarse, fine, rtol=0.02, atol=0)


@pytest.mark.parametrize("images", [1, 2])
def test_rounds_of_a_star_are_learned_as_if_each_were_alone(tiny: Backbone, images: int) -> None:
    turns = [
        Turn("Which street is this?", "Forbes Avenue"),
        Turn("Is it Oak Street?", "No"),
        Turn("Where?", "Here"),
    ]
    train_parts(tiny.model, PARTS)
    loss = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)
    pixels = torch.arange(images * 3 * 28 * 28).reshape(images, 3, 28, 28).to(torch.uint8).numpy()

    def learn(groups: list[list[Turn]], rounds: Rounds) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        samples = [
            Sample(
                "p",
                encode_conversation(
                    tiny.tokenizer, group, image_tokens=tiny.image_tokens, images=images, rounds=rounds
                ),
                pixels,
            )
            for group in groups
        ]
        data = collate(samples, pad_id=tiny.tokenizer.pad_token_id)
        del data["photos"]
        assert ("mask" in data) == (rounds == "star")
        tiny.model.zero_grad()
        found = loss(**data)["loss"]
        found.backward()
        return found.detach(), {name: gradient.clone() for name, gradient in gradients(tiny.model).items()}

    together, apart = learn([turns, turns[:2]], "star"), learn([[t] for t in (*turns, *turns[:2])], "chain")
    torch.testing.assert_close(together[0], apart[0], rtol=1e-5, atol=0)
    for name, gradient in apart[1].items():
        torch.testing.assert_close(together[1][name], gradient, rtol=1e-3, atol=1e-6)
    assert (learn([turns], "chain")[0] - learn([turns], "star")[0]).abs() > 1e-3


def test_packed_chains_have_the_loss_and_gradients_of_padded_ones(
    tiny: Backbone,
) -> None:
    data = batch(tiny)
    train_parts(tiny.model, PARTS)
    widths = []
    language_model = tiny.model.base_model.language_model
    language_model.register_forward_pre_hook(
        lambda _, args, inputs: widths.append(inputs["inputs_embeds"].shape), with_kwargs=True
    )
    found = []
    for pack in (False, True):
        loss = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False, pack=pack)(**data)["loss"]
        loss.backward()
        found.append((loss.detach(), gradients(tiny.model)))
        tiny.model.zero_grad()
    torch.testing.assert_close(*(loss for loss, _ in found), rtol=1e-5, atol=0)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-4, atol=1e-6)
    padded, packed = widths
    assert packed[0] == 1
    assert packed[1] < padded[0] * padded[1]


def test_a_packing_keeps_pictures_and_ends_with_the_last_label() -> None:
    picture, other = 7, 1
    ids = torch.tensor(
        [[other, picture, other, other], [picture, other, other, picture], [picture] + [other] * 3]
    )
    labels = torch.tensor([[IGNORED, IGNORED, 4, IGNORED], [IGNORED] * 4, [IGNORED] * 4])
    found = packing(ids, labels, picture)
    assert found.ends.tolist() == [0, 3, 7, 8]
    assert found.packed(ids).tolist() == [[1, 7, 1, 7, 1, 1, 7, 7]]
    assert found.structure()["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 0]]
    assert found.structure()["max_length_q"] == 4


def test_chains_are_packed_only_where_layers_and_device_can(tiny: Backbone) -> None:
    assert not AnswerLoss(tiny.model, tiny.preprocessing, bf16=True).packs  # no kernel on a CPU
    language_model = tiny.model.base_model.language_model
    assert head_width_in_rows(language_model) == 4
    del language_model.layers[0].self_attn.forward  # Transformers' own
    assert head_width_in_rows(language_model) is None
