from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface, LlavaForConditionalGeneration, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from addressvlm.model import treeattention
from addressvlm.model.backbone import build_backbone
from addressvlm.model.initialising import initialise
from addressvlm.model.presets import PRESETS, Preset, Tower
from addressvlm.model.tokenizer import mini_tokenizer
from addressvlm.model.tokentree import TokenTree
from addressvlm.model.treeattention import use_tree_attention
from addressvlm.model.treepass import TreePass, Twig

PHI3 = Preset(
    vision=Tower("clip", width=16, layers=2, heads=2, mlp=32),
    text=Tower("phi3", width=16, layers=3, heads=2, mlp=32),
    image_px=28,
    patch_px=14,
    vision_feature_layer=-1,
)
QWEN2 = replace(
    PHI3, vision=replace(PHI3.vision, family="siglip"), text=replace(PHI3.text, family="qwen2", heads=4)
)
STEM = [1, 2, *[7] * 4, 300]  # four tokens of a picture


@pytest.fixture(params=["phi3", "qwen2", "shared keys"])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    if request.param == "shared keys":
        config = QWEN2.config(mini_tokenizer())
        config.text_config.num_key_value_heads = 2
        shared = LlavaForConditionalGeneration(config).eval()
        initialise(shared, seed=0)
        return shared
    monkeypatch.setitem(PRESETS, "tree", {"phi3": PHI3, "qwen2": QWEN2}[request.param])
    return build_backbone("tree", seed=0).model


def pictures(number: int) -> torch.Tensor:
    return torch.randn(number, 3, 28, 28, generator=torch.Generator().manual_seed(number))


@torch.inference_mode()
def alone(model: PreTrainedModel, path: list[int], picture: torch.Tensor) -> torch.Tensor:
    """What the model expects behind a path that it reads by itself."""
    assert path[2:6] == [model.config.image_token_id] * 4
    logits: torch.Tensor = model(input_ids=torch.tensor([path]), pixel_values=picture[None]).logits[0, -1]
    return logits


def some_tree(dice: np.random.Generator) -> TokenTree:
    size = int(dice.integers(1, 24))
    return TokenTree(dice.integers(10, 1500, size).tolist(), [int(dice.integers(-1, n)) for n in range(size)])


def paths_of(tree: TokenTree, before: list[int]) -> list[list[int]]:
    paths: list[list[int]] = []
    for token, parent in zip(tree.ids, tree.parents, strict=True):
        paths.append([*(paths[parent] if parent >= 0 else before), token])
    return paths


@pytest.mark.parametrize("by_layout", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_every_place_of_a_growing_tree_gets_what_its_path_gets_alone(
    model: PreTrainedModel, seed: int, by_layout: bool
) -> None:
    if by_layout:
        use_tree_attention(model)
    dice = np.random.default_rng(seed)
    images = pictures(3)
    reading = TreePass(model, 3)
    known = [{6: STEM} for _ in images]  # paths by place
    tips = reading.logits(reading.read([[Twig(TokenTree(STEM, range(-1, 6)))]] * 3, images))
    expected = torch.stack([alone(model, STEM, image) for image in images])
    torch.testing.assert_close(tips, expected, rtol=1e-5, atol=2e-5)
    for _ in range(2):
        rows = [
            [Twig(some_tree(dice), int(dice.choice(list(places)))) for _ in range(dice.integers(1, 4))]
            for places in known
        ]
        looked = reading.logits(reading.look(rows))
        tips = reading.logits(reading.read(rows))
        said = iter(tips)
        for row, (twigs, image) in enumerate(zip(rows, images, strict=True)):
            begin = 0
            before = dict(known[row])
            for twig, tip in zip(twigs, reading.tips[row], strict=True):
                assert twig.behind is not None
                paths = paths_of(twig.tree, before[twig.behind])
                first = tip - len(paths) + 1
                known[row] |= {first + number: path for number, path in enumerate(paths)}
                expected = torch.stack([alone(model, path, image) for path in paths])
                seen = looked[row, begin : begin + len(paths)]
                torch.testing.assert_close(seen, expected, rtol=1e-5, atol=2e-5)
                torch.testing.assert_close(next(said), expected[-1], rtol=1e-5, atol=2e-5)
                begin += len(paths)


def test_long_twigs_behind_others_attend_by_their_layout(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[bool] = []

    def counting(*arguments: Any, layout: Any = None, **options: Any) -> Any:
        cut.append(layout is not None)
        return treeattention._attention_by_twigs(*arguments, layout=layout, **options)

    use_tree_attention(model)
    monkeypatch.setitem(AttentionInterface._global_mapping, "twigs", counting)
    reading = TreePass(model, 1)
    reading.read([[Twig(TokenTree(STEM, range(-1, 6)))]], pictures(1))
    assert cut == [False] * 3  # one a layer; nothing was read before
    reading.read([[Twig(TokenTree(range(20, 40), range(-1, 19)), 6)]])
    assert cut == [False] * 3 + [True] * 3
    reading.read([[Twig(TokenTree([40], [-1]), 26)]])
    assert cut == [False] * 3 + [True] * 3 + [False] * 3


def test_the_last_layer_attends_for_the_last_tokens_alone(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[int] = []

    def counting(*arguments: Any, **options: Any) -> Any:
        queries.append(arguments[1].shape[2])
        return sdpa_attention_forward(*arguments, **options)

    use_tree_attention(model)
    monkeypatch.setattr(treeattention, "sdpa_attention_forward", counting)
    reading = TreePass(model, 2)
    stem, question = Twig(TokenTree(STEM, range(-1, 6))), Twig(TokenTree([40, 41], [-1, 0]), 6)
    reading.read([[stem], [stem]], pictures(2))
    assert queries == [7, 7, 1]
    reading.read([[question, question], [question]])
    assert queries[3:] == [4, 4, 2]
    reading.look([[question], [question]])
    assert queries[6:] == [2, 2, 2]


def test_rows_do_not_see_each_other(model: PreTrainedModel) -> None:
    twig = Twig(TokenTree(STEM, range(-1, 6)))
    longer = Twig(TokenTree([*STEM, *range(20, 60)], range(-1, 46)))
    first, second = pictures(2)

    def read(rows: list[Twig], images: list[torch.Tensor]) -> torch.Tensor:
        return TreePass(model, len(rows)).read([[row] for row in rows], torch.stack(images))

    both = read([twig, longer], [first, second])
    torch.testing.assert_close(both[:1], read([twig], [first]), rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(both[1:], read([longer], [second]), rtol=1e-5, atol=2e-5)


def test_a_model_is_left_as_it_was(model: PreTrainedModel) -> None:
    path, image = [*STEM, 40, 50], pictures(1)
    before = alone(model, path, image[0])
    use_tree_attention(model)
    reading = TreePass(model, 1)
    reading.read([[Twig(TokenTree(STEM, range(-1, 6)))]], image)
    reading.look([[Twig(TokenTree([40], [-1]), 6)]])
    assert torch.equal(alone(model, path, image[0]), before)
