from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch.distributed.tensor import DTensor

from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.conversation import IGNORED
from addressvlm.model.lora import add_adapter
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.sharding import put_together, shard


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """The one process of a group."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def adapted(*, sharded: bool) -> AnswerLoss:
    """As on a GPU: frozen weights in bfloat16, trained ones in float32."""
    backbone: Backbone = build_backbone("tiny", seed=0)
    model = add_adapter(
        backbone.model, ["vision", "projector", "language"], rank=4, alpha=8, dropout=0.0, seed=0
    )
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # else it changes nothing
            weight.data.normal_(0, 0.1, generator=generator)
    loss = AnswerLoss(model, backbone.preprocessing, bf16=True, halve=True, sharded=sharded)
    assert loss.halved
    return loss


def batch() -> dict[str, torch.Tensor]:
    backbone = build_backbone("tiny", seed=0)
    image = [backbone.model.config.image_token_id] * backbone.image_tokens
    ids = torch.tensor([[1, *image, *range(20, 40)]])
    size = backbone.preprocessing.size_px
    pixels = torch.arange(3 * size * size).remainder(251).to(torch.uint8).view(1, 3, size, size)
    return {"input_ids": ids, "pixels": pixels, "labels": ids.masked_fill(ids < 30, IGNORED)}


@pytest.mark.usefixtures("group")
def test_a_sharded_model_has_the_gradients_of_a_whole_one() -> None:
    ours, whole = adapted(sharded=True), adapted(sharded=False)
    shard(ours)
    assert all(isinstance(weight, DTensor) for weight in ours.parameters())
    for loss in (ours, whole):
        loss(**batch())["loss"].backward()
    gradients = {name: w.grad for name, w in whole.named_parameters() if w.grad is not None}
    assert len(gradients) == sum(weight.requires_grad for weight in whole.parameters())
    for name, weight in ours.named_parameters():
        assert isinstance(weight, DTensor), "parts again after every step"
        if name in gradients:
            torch.testing.assert_close(weight.grad.full_tensor(), gradients[name], rtol=2e-2, atol=1e-4)


@pytest.mark.usefixtures("group")
def test_a_model_put_together_is_what_it_was() -> None:
    loss = adapted(sharded=True)
    before = {name: weight.clone() for name, weight in loss.state_dict().items()}
    shard(loss)
    put_together(loss)
    after = loss.state_dict()
    assert after.keys() == before.keys()
    for name, weight in before.items():
        assert not isinstance(after[name], DTensor)
        assert torch.equal(after[name], weight)
