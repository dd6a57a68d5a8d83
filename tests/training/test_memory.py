from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from train_job import QUICK

from addressvlm.dataset.tables import read_conversations
from addressvlm.errors import AddressVLMError
from addressvlm.model import memory as free_memory
from addressvlm.training import memory
from addressvlm.training.bases import start
from addressvlm.training.batches import Conversations, collate
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.memory import Need, estimate, require_memory
from addressvlm.training.stages import Stage
from addressvlm.training.train import train

STAGE = replace(QUICK, per_device_train_batch_size=8, num_train_epochs=1)


@pytest.fixture
def job(photos: Path, tmp_path: Path) -> tuple[AnswerLoss, Callable[[int], dict[str, Any]]]:
    backbone, model = start("tiny", STAGE, tmp_path / "run")
    conversations = Conversations(
        read_conversations(photos, "localization"), backbone, seed=0, max_length=1472
    )

    def batch_of(count: int) -> dict[str, Any]:
        batch = collate([conversations[0, conversations.longest]] * count, pad_id=0)
        return {name: item for name, item in batch.items() if name != "photos"}

    return AnswerLoss(model, backbone.preprocessing, bf16=False), batch_of


def kept_in_truth(loss: AnswerLoss, batch: dict[str, Any]) -> int:
    """Bytes that a graph holds, counted while it is held."""
    held: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = loss.train()(**batch)["loss"]
    weights = {weight.untyped_storage().data_ptr() for weight in (*loss.parameters(), *loss.buffers())}
    del graph
    return sum(
        tensor.untyped_storage().nbytes() for address, tensor in held.items() if address not in weights
    )


def test_what_is_counted_is_what_a_graph_holds(job: Any) -> None:
    loss, batch_of = job
    for count in (1, 5):
        assert memory._kept(loss, batch_of(count)) == kept_in_truth(loss, batch_of(count))


def test_every_conversation_takes_about_as_much(job: Any) -> None:
    loss, batch_of = job
    one, two, five = (memory._kept(loss, batch_of(count)) for count in (1, 2, 5))
    assert five == pytest.approx(one + 4 * (two - one), rel=0.02)


def test_estimating_changes_nothing(job: Any) -> None:
    loss, batch_of = job
    loss.eval()
    before = torch.get_rng_state()
    estimate(loss, STAGE, batch_of)
    assert torch.equal(torch.get_rng_state(), before)
    assert not loss.training
    assert all(weight.grad is None for weight in loss.parameters())


def test_gradients_and_moments_are_twelve_bytes_a_trained_weight(job: Any) -> None:
    loss, batch_of = job
    trained = sum(weight.numel() for weight in loss.parameters() if weight.requires_grad)
    assert estimate(loss, STAGE, batch_of).fixed >= 12 * trained


def test_the_largest_micro_batch_fits_exactly() -> None:
    need = Need(fixed=100, per_sample=10)
    assert need.largest(need.of(7)) == 7
    assert need.largest(need.of(7) - 1) == 6
    assert need.largest(50) == 0


def test_too_little_memory_names_the_largest_that_fits(job: Any) -> None:
    loss, batch_of = job
    need = estimate(loss, STAGE, batch_of)
    with pytest.raises(
        AddressVLMError, match=r"at most 3 fit: set per_device_train_batch_size = 3, or set grad"
    ):
        require_memory(loss, STAGE, batch_of, free=need.of(3))
    with pytest.raises(AddressVLMError, match="not even one fits"):
        require_memory(loss, STAGE, batch_of, free=need.fixed)
    assert require_memory(loss, STAGE, batch_of, free=need.of(8)) == need


def test_too_little_memory_is_said_before_the_first_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    with pytest.raises(AddressVLMError, match="a micro-batch of 8 conversations needs"):
        train(STAGE, photos, "tiny", tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_free_memory_is_at_most_what_the_machine_has() -> None:
    assert 0 < free_memory.free_bytes() < 1 << 45
    with pytest.raises(AddressVLMError, match="a giant needs"):
        free_memory.require_room(1 << 50, "a giant")


def adapter_of(stage: Stage, photos: Path, run: Path) -> bytes:
    train(stage, photos, "tiny", run)
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def test_checkpointing_of_activations_changes_no_weight(photos: Path, tmp_path: Path) -> None:
    of = partial(adapter_of, photos=photos)
    saving = replace(STAGE, gradient_checkpointing=True)
    assert of(STAGE, run=tmp_path / "plain") == of(saving, run=tmp_path / "saving")
