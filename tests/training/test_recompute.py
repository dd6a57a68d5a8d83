import copy

import pytest
import torch

from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.conversation import Turn, encode_conversation
from addressvlm.model.lora import PARTS, add_adapter
from addressvlm.training.batches import Sample, collate
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.recompute import kept_bytes, layers_to_recompute, recompute_layers


def batch(backbone: Backbone, samples: int = 1) -> dict[str, torch.Tensor]:
    size = backbone.preprocessing.size_px
    pixels = torch.arange(3 * size * size).reshape(1, 3, size, size).to(torch.uint8).numpy()
    turns = [Turn("Which street is this?", "Forbes Avenue")]
    encoded = encode_conversation(backbone.tokenizer, turns, image_tokens=backbone.image_tokens)
    found = collate([Sample("p", encoded, pixels)] * samples, pad_id=backbone.tokenizer.pad_token_id)
    del found["photos"]
    return found


def loss_of(backbone: Backbone, dropout: float = 0.0) -> AnswerLoss:
    model = copy.deepcopy(backbone.model)
    adapted = add_adapter(model, PARTS, rank=2, alpha=4, dropout=dropout, seed=0).train()
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return AnswerLoss(adapted, backbone.preprocessing, bf16=False)


@pytest.mark.parametrize(
    ("free", "count"),
    [(1000, 0), (330, 0), (329, 2), (230, 2), (229, 3), (0, 3)],
)
def test_as_few_layers_as_must_be(free: float, count: int) -> None:
    """30 bytes are kept anyway and 100 by each of three layers; one recomputed layer is whole at a time."""
    assert layers_to_recompute([30, 100, 100, 100], free) == count


def test_what_layers_keep_is_measured_and_grows_with_the_batch() -> None:
    backbone = build_backbone("mini", seed=0)
    loss = loss_of(backbone)
    one, two = kept_bytes(loss, batch(backbone)), kept_bytes(loss, batch(backbone, 2))
    assert len(one) == 1 + 3
    tokens = batch(backbone)["input_ids"].numel()
    *whole, last = one[1:]
    # At the least its normed inputs, queries, keys, values and both halves of its MLP.
    assert all(kept > 4 * tokens * (2 * 128 + 3 * 128 + 2 * 384) for kept in whole)
    assert 4 * tokens * (128 + 3 * 128) < last < 0.6 * min(whole)  # its MLP is for learned tokens only
    assert two[1] == pytest.approx(2 * one[1], rel=0.1)


def test_measuring_leaves_the_dice_and_the_gradients_alone(tiny: Backbone) -> None:
    loss = loss_of(tiny, dropout=0.5)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    kept_bytes(loss, batch(tiny))
    assert torch.equal(torch.rand(1), expected)
    assert all(weight.grad is None for weight in loss.parameters())


def test_recomputed_layers_give_the_same_bytes() -> None:
    backbone = build_backbone("mini", seed=0)
    found = []
    for count in (0, 2):
        loss = loss_of(backbone, dropout=0.3)
        recompute_layers(loss, count)
        torch.manual_seed(0)
        loss(**batch(backbone, 2))["loss"].backward()
        found.append({n: w.grad for n, w in loss.named_parameters() if w.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(gradient, found[1][name]) for name, gradient in found[0].items())


def test_recomputed_layers_keep_nothing_of_their_own() -> None:
    backbone = build_backbone("mini", seed=0)
    loss = loss_of(backbone)
    before = kept_bytes(loss, batch(backbone))
    recompute_layers(loss, 2)
    after = kept_bytes(loss, batch(backbone))
    assert sum(after[1:3]) < 0.2 * sum(before[1:3])
    assert after[3] > 0.5 * before[3]
