from dataclasses import replace

import pytest
import torch

from addressvlm.model.backbone import build_backbone
from addressvlm.model.initialising import local_filters
from addressvlm.model.presets import PRESETS


def test_filters_are_windows_all_over_the_patch() -> None:
    filters = local_filters(128, 12)
    assert filters.shape == (128, 3, 12, 12)
    assert filters.flatten(1).norm(dim=1).tolist() == pytest.approx([1] * 128, rel=1e-5)
    energy = filters.square().sum(dim=1)  # (128, 12, 12)
    rows = torch.arange(12.0)
    down = (energy.sum(dim=2) * rows).sum(dim=1).view(4, 4, 8)
    across = (energy.sum(dim=1) * rows).sum(dim=1).view(4, 4, 8)
    for step, middle in enumerate((1.0, 4.0, 7.0, 10.0)):
        assert down[step].flatten().tolist() == pytest.approx([middle] * 32, abs=0.5)
        assert across[:, step].flatten().tolist() == pytest.approx([middle] * 32, abs=0.5)
    assert energy[0, 6:, 6:].sum() < 0.01  # the first window sees the upper left corner alone


def test_filters_tell_what_they_are_of() -> None:
    filters = local_filters(8, 12).view(8, -1)
    assert (filters @ filters.T - torch.eye(8)).abs().max() < 0.9
    grey = torch.ones(3, 12, 12).flatten()
    seen = (filters @ grey).abs()
    assert seen[0] > 5
    assert seen[2:].max() < 1e-4


@pytest.mark.parametrize("width", [1, 7, 8, 20, 192])
def test_as_many_filters_as_there_is_width_for(width: int) -> None:
    assert len(local_filters(width, 14)) <= width


def test_towers_begin_with_them_and_the_rest_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    mini = PRESETS["mini"]
    monkeypatch.setitem(PRESETS, "wide", replace(mini, vision=replace(mini.vision, width=192, heads=3)))
    one, same, other = (build_backbone("wide", seed=seed) for seed in (0, 0, 1))
    weights = [x.model.base_model.vision_tower.embeddings.patch_embedding.weight for x in (one, same, other)]
    assert (weights[0] == weights[1]).all()
    assert (weights[0][:128] == weights[2][:128]).all()
    assert (weights[0][128:] != weights[2][128:]).any()
