"""Weights sharded over processes (FSDP): each keeps a part, and sees a layer whole while it computes.

This is PyTorch's `fully_shard`. accelerate starts the processes but does not shard: it would on GPUs only,
and by classes of layers that the user has to name. Files do not show any of it: what is written is put
together first, with the help of all processes.
"""

import re
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from addressvlm.training import processes
from addressvlm.training.precision import device

# A layer of either tower. Embeddings, projector and head are kept in parts together.
_LAYER = re.compile(r".*\.layers?\.\d+")


def shard(loss: nn.Module) -> None:
    """Leave this process its part of every weight, on its device; all processes must have had the same."""
    mesh = init_device_mesh(device().type, (processes.count(),))
    for name, module in loss.named_modules():
        if _LAYER.fullmatch(name):
            fully_shard(module, mesh=mesh)
    fully_shard(loss, mesh=mesh)
    marked: Any = loss
    marked._is_accelerate_prepared = True  # or accelerate wants to copy the weights into every process


def put_together(module: nn.Module) -> None:
    """Give the first process back all weights, on the CPU, to be saved; nothing is trained after it."""
    of_parts: dict[int, nn.Parameter] = {}  # one weight may stand in two places
    for owner in module.modules():
        for name, weight in list(owner.named_parameters(recurse=False)):
            if not isinstance(weight, DTensor):
                continue
            if id(weight) not in of_parts:
                of_parts[id(weight)] = nn.Parameter(whole(weight.detach()), weight.requires_grad)
            if processes.is_first():
                setattr(owner, name, of_parts[id(weight)])


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """What the parts of all processes make, on the first one's CPU; the others only help, and get nothing.

    A tensor that is not sharded stays as it is.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    full: torch.Tensor = tensor.full_tensor()
    return full.cpu() if processes.is_first() else full.new_empty(0)


def part(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """This process's part of a whole tensor, cut as the weight is."""
    if not isinstance(weight, DTensor):
        return tensor
    on_device = tensor.to(weight.device)
    return distribute_tensor(on_device, weight.device_mesh, weight.placements, src_data_rank=None)


def whole_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state of the optimizer as a single process would have it, on the first one."""
    state = optimizer.state_dict()
    moments = {
        number: {name: whole(value) for name, value in of_weight.items()}
        for number, of_weight in state["state"].items()
    }
    return {**state, "state": moments}


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Continue from a state of `whole_state`."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = {
        number: {
            name: part(value, weights[number]) if value.shape == weights[number].shape else value
            for name, value in of_weight.items()
        }
        for number, of_weight in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})
