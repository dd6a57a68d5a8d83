from dataclasses import replace

import pytest
import torch

from addressvlm.model import presets
from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.presets import Tower
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.reading import SLOTS, UNKNOWN
from addressvlm.training.speaking import Speaking, _reading

PATCHES = 144


@pytest.fixture(params=["phi3", "qwen2"])
def backbone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    small = replace(
        presets.PRESETS["mini"],
        vision=Tower("clip", width=48, layers=1, heads=2, mlp=96),
        text=Tower(request.param, width=48, layers=2, heads=2, mlp=96),
    )
    monkeypatch.setitem(presets.PRESETS, "small", small)
    return build_backbone("small", seed=0)


def batch(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Two pictures with an answer of one token; a token begins in three patches of the first."""
    picture = backbone.model.config.image_token_id
    ids = torch.tensor([[105, *[picture] * PATCHES, 106, 107, 108]] * 2)
    labels = torch.full_like(ids, -100)
    labels[:, -1] = 108
    tokens = torch.full((2, PATCHES, SLOTS), UNKNOWN)
    tokens[0, 20:50] = backbone.tokenizer.pad_token_id  # letters, but no beginning
    tokens[0, 22, :3] = torch.tensor([40, 50, 60])
    tokens[0, 23, :2] = torch.tensor([60, 70])
    tokens[0, 40, 1] = 80
    pixels = torch.randint(0, 255, (2, 3, 144, 144), generator=torch.Generator().manual_seed(0))
    points = torch.full_like(ids, UNKNOWN)
    points[0, -2] = 1 + 40  # where the answer of the first picture begins
    return {
        "input_ids": ids,
        "labels": labels,
        "tokens": tokens,
        "points": points,
        "pixels": pixels.to(torch.uint8),
    }


def speaking(backbone: Backbone) -> Speaking:
    answers = AnswerLoss(backbone.model, backbone.preprocessing, bf16=False)
    return Speaking(answers, nothing=backbone.tokenizer.pad_token_id)


def attention_of(backbone: Backbone, hidden: torch.Tensor, number: int = 0) -> torch.Tensor:
    """What the first head of a layer looks at, (tokens, tokens), as the model itself computes it."""
    layer = backbone.model.base_model.language_model.layers[number]
    turns = backbone.model.base_model.language_model.rotary_emb(hidden, torch.arange(hidden.shape[1])[None])
    normed, attention = layer.input_layernorm(hidden), layer.self_attn
    if hasattr(attention, "qkv_proj"):
        query, key, _ = attention.qkv_proj(normed).chunk(3, dim=-1)
    else:
        query, key = attention.q_proj(normed), attention.k_proj(normed)
    width = attention.head_dim
    query, key = query[0, :, :width], key[0, :, :width]
    cos, sin = turns[0][0], turns[1][0]

    def turned(x: torch.Tensor) -> torch.Tensor:
        return x * cos + torch.cat([-x[:, width // 2 :], x[:, : width // 2]], dim=-1) * sin

    return turned(query) @ turned(key).T


def learn(
    backbone: Backbone, loss: Speaking, inputs: dict[str, torch.Tensor], part: str, steps: int
) -> float:
    """Train all but the tower on one batch; a part of the loss as it was before."""
    torch.manual_seed(0)
    backbone.model.base_model.vision_tower.requires_grad_(False)
    optimizer = torch.optim.AdamW([w for w in backbone.model.parameters() if w.requires_grad], lr=5e-3)
    begun = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss(**inputs)["loss"].backward()
        optimizer.step()
        begun.append(loss.parts[part])
    return begun[0]


def test_heads_that_were_shown_how_find_what_stands_behind_a_token(backbone: Backbone) -> None:
    model, loss, inputs = backbone.model, speaking(backbone), batch(backbone)
    assert learn(backbone, loss, inputs, "copying", 60) > 20
    assert loss.parts["copying"] < 1
    with torch.no_grad():
        seen = loss.answers.features_of(inputs["pixels"])
        hidden = model.get_input_embeddings()(inputs["input_ids"][:1])
        hidden[0, 1 : 1 + PATCHES] = model.base_model.multi_modal_projector(seen[:1])[0]
        hidden[0, -1] = model.get_input_embeddings()(torch.tensor(60))  # the token that looks
        looked = attention_of(backbone, hidden)[-1, [1 + 22, 1 + 23, 1 + 40]]
    assert looked.argmax() == 1  # the patch with 60 before its first token


def test_a_head_that_was_shown_where_to_look_looks_there(backbone: Backbone) -> None:
    model, loss, inputs = backbone.model, speaking(backbone), batch(backbone)
    assert learn(backbone, loss, inputs, "pointing", 40) > 3
    assert loss.parts["pointing"] < 0.5
    layer = model.base_model.language_model.layers[1]
    with torch.no_grad(), _reading(layer) as read:
        loss(**inputs)
    with torch.no_grad():
        looked = attention_of(backbone, read[0][:1].float(), 1)[-2, :-1]
    assert not layer._forward_pre_hooks
    assert looked.argmax() == 1 + 40


def test_pictures_without_pages_teach_no_copying(backbone: Backbone) -> None:
    loss, inputs = speaking(backbone), batch(backbone)
    for name in ("tokens", "points"):
        inputs[name] = torch.full_like(inputs[name], UNKNOWN)
    total = loss(**inputs)["loss"]
    assert loss.parts["copying"] == loss.parts["pointing"] == 0
    assert total.item() == pytest.approx(loss.parts["answers"], abs=1e-3)
    total.backward()
