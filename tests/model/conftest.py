import pytest

from addressvlm.model import presets
from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.presets import Preset, Tower

# A few thousand weights; two vision layers of which the last is not read, as in the full size.
TINY = Preset(
    vision=Tower("clip", width=8, layers=2, heads=2, mlp=16),
    text=Tower("phi3", width=8, layers=1, heads=2, mlp=16),
    image_px=28,
    patch_px=14,
    vision_feature_layer=-2,
)
TINY_SIGLIP = Preset(
    vision=Tower("siglip", width=8, layers=2, heads=2, mlp=16),
    text=Tower("qwen2", width=8, layers=1, heads=2, mlp=16),
    image_px=28,
    patch_px=14,
    vision_feature_layer=-1,
)


@pytest.fixture(params=["tiny", "tiny-siglip"])
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    monkeypatch.setitem(presets.PRESETS, "tiny", TINY)
    monkeypatch.setitem(presets.PRESETS, "tiny-siglip", TINY_SIGLIP)
    return build_backbone(request.param, seed=0)
