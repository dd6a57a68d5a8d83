from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_photos import tiny_dataset
from train_job import TINY

from addressvlm.model import presets
from addressvlm.model.backbone import Backbone, build_backbone


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as the processes that the tests start: sums of floats depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "tiny", TINY)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("photos") / "data")


@pytest.fixture
def tiny() -> Backbone:
    return build_backbone("tiny", seed=0)
