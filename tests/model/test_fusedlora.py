import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from addressvlm.model.fusedlora import fuse_adapters, fused


class Attention(nn.Module):
    """Three layers that read the same input, and one that reads what they make."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(6, 4), nn.Linear(6, 4)
        self.v_proj, self.o_proj = nn.Linear(6, 5), nn.Linear(5, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        together: torch.Tensor = self.o_proj(torch.tanh(query * key).sum(-1, keepdim=True) * value)
        return together


def adapted(dropout: float = 0.0) -> nn.Module:
    """The layers with adapters that do something."""
    torch.manual_seed(0)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    model = get_peft_model(
        Attention(), LoraConfig(r=2, lora_alpha=6, lora_dropout=dropout, target_modules=targets)
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    return model.train()


def inputs() -> torch.Tensor:
    return torch.randn(7, 3, 6, generator=torch.Generator().manual_seed(1))


def learn(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = x.clone().requires_grad_()
    model.zero_grad()
    out = model(x)
    out.square().sum().backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    return out.detach(), {"x": x.grad, **found}


def test_outputs_and_gradients_are_pefts() -> None:
    theirs = adapted()
    ours = copy.deepcopy(theirs)
    assert fuse_adapters(ours) == 4
    (expected, gradients), (out, found) = learn(theirs, inputs()), learn(ours, inputs())
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5)


def test_layers_of_one_input_are_computed_together() -> None:
    model = adapted()
    fuse_adapters(model)
    attention = model.get_base_model()
    together = fused([attention.q_proj, attention.k_proj, attention.v_proj])
    assert together is not None
    assert together.sizes == [4, 4, 5]
    assert fused([attention.q_proj, attention.o_proj]) is None


def test_in_bfloat16_it_is_as_close_to_the_truth_as_peft() -> None:
    theirs = adapted()
    ours = copy.deepcopy(theirs)
    fuse_adapters(ours)
    truth, _ = learn(theirs, inputs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = learn(theirs, inputs())[0], learn(ours, inputs())[0]
    assert other.dtype == torch.bfloat16
    assert (other - truth).norm() < 1.2 * (one - truth).norm() + 1e-3


def test_dropout_of_the_backward_is_that_of_the_forward() -> None:
    model = adapted(dropout=0.4)
    fuse_adapters(model)
    layer = model.get_base_model().o_proj
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    step = 1e-2 * torch.randn(
        layer.lora_A["default"].weight.shape, generator=torch.Generator().manual_seed(2)
    )
    torch.manual_seed(3)
    before = layer(x).sum()
    before.backward()
    with torch.no_grad():
        layer.lora_A["default"].weight += step
        torch.manual_seed(3)
        after = layer(x).sum()  # linear in A and in x, so changes are exactly those that gradients tell
        torch.manual_seed(3)
        moved = layer(1.01 * x).sum()
    gradient = layer.lora_A["default"].weight.grad
    torch.testing.assert_close(after - before.detach(), (gradient * step).sum(), rtol=1e-3, atol=1e-4)
    x.grad = None
    torch.manual_seed(3)
    layer(x).sum().backward()
    torch.testing.assert_close(moved - after, (x.grad * 0.01 * x).sum().detach(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dropout", [0.05, 0.5])
def test_dropout_keeps_its_share_and_the_mean(dropout: float) -> None:
    layer = nn.Module()
    layer.o_proj = nn.Linear(64, 1, bias=False)  # its only adapter reads the whole input
    model = get_peft_model(
        layer, LoraConfig(r=1, lora_alpha=1, lora_dropout=dropout, target_modules=["o_proj"])
    )
    fuse_adapters(model)
    inner = model.get_base_model().o_proj.train()
    for weight in inner.parameters():
        nn.init.ones_(weight)
    nn.init.zeros_(inner.base_layer.weight)
    torch.manual_seed(0)
    kept = inner(torch.ones(4000, 64)) * (1 - dropout)  # how many of 64 were kept
    assert kept.mean().item() == pytest.approx(64 * (1 - dropout), rel=0.01)
    assert kept.var().item() == pytest.approx(64 * dropout * (1 - dropout), rel=0.1)


def test_dropout_is_off_outside_training() -> None:
    model = adapted(dropout=0.5)
    expected = model.eval()(inputs())
    fuse_adapters(model)
    torch.testing.assert_close(model.eval()(inputs()), expected, rtol=1e-5, atol=1e-6)


def test_layers_that_are_trained_themselves_stay_as_they_are() -> None:
    model = adapted()
    for weight in model.parameters():
        weight.requires_grad_(True)
    assert fuse_adapters(model) == 0


def test_weights_are_kept_once() -> None:
    model = adapted()
    fuse_adapters(model)
    model(inputs())
    attention = model.get_base_model()
    kept = attention.q_proj.base_layer.weight.untyped_storage().data_ptr()
    assert attention.k_proj.base_layer.weight.untyped_storage().data_ptr() == kept
