from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from addressvlm.dataset.labelcalls import Ask, NoAnswer, Reply
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.inference.describer import LocalModel
from addressvlm.model.backbone import Backbone, save_backbone


def asks_about(photos: list[Path], *, temperature: float = 0.0, max_tokens: int = 6) -> list[Ask]:
    """One ask a photo, with hints of different lengths."""
    return [
        Ask((photo,), "Look at it.", f"Hint: {'long ' * number}", temperature, number, max_tokens)
        for number, photo in enumerate(photos)
    ]


@pytest.fixture(scope="module")
def ours(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of this project."""
    folder = tmp_path_factory.mktemp("models") / "ours"
    save_backbone(tiny, folder)
    return folder


@pytest.fixture(scope="module")
def anybody(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as others save them: with a processor and a chat template."""
    folder = tmp_path_factory.mktemp("models") / "anybody"
    tiny.model.save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False),
        tiny.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=tiny.tokenizer.chat_template,
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("whose", ["ours", "anybody"])
def test_batches_say_what_each_sample_says_alone(
    whose: str, photos: list[Path], request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(whose)
    asks = asks_about(photos)
    together = LocalModel(folder, batch_size=3).open()(asks)
    alone = LocalModel(folder, batch_size=1).open()
    assert together == [alone([ask])[0] for ask in asks]
    for place, reply in enumerate(together):
        assert isinstance(reply, Reply)
        assert reply.cut
        assert reply.completion_tokens == 6
        assert reply.prompt_tokens is not None
        # Four picture tokens, and a hint that is longer by a word each time.
        assert reply.prompt_tokens > 4 + place


def test_an_answer_that_ends_by_itself_was_not_cut_off(ours: Path, photos: list[Path]) -> None:
    describe = LocalModel(ours).open()
    warm = [replace(ask, temperature=2.0, max_tokens=150) for ask in asks_about(photos * 4)]
    replies = [reply for reply in describe(warm) if isinstance(reply, Reply)]
    ended = [reply for reply in replies if not reply.cut]
    assert ended
    assert all((reply.completion_tokens or 0) <= 150 for reply in ended)


def test_the_same_seeds_draw_the_same_texts(ours: Path, photos: list[Path]) -> None:
    describe = LocalModel(ours).open()
    warm = asks_about(photos, temperature=1.0)
    first = describe(warm)
    assert describe(warm) == first
    assert describe([replace(ask, seed=99) for ask in warm]) != first


def test_a_picture_that_is_gone_costs_its_sample_only(ours: Path, photos: list[Path], tmp_path: Path) -> None:
    asks = [*asks_about(photos), replace(asks_about(photos)[0], images=(tmp_path / "gone.jpg",))]
    *good, bad = LocalModel(ours).open()(asks)
    assert all(isinstance(reply, Reply) for reply in good)
    assert isinstance(bad, NoAnswer)
    assert bad.kind == "picture"
    assert "gone.jpg" in bad.message


def test_a_prompt_that_is_too_long_costs_its_sample_only(ours: Path, photos: list[Path]) -> None:
    long, good = (
        replace(ask, hint=ask.hint + words)
        for ask, words in zip(asks_about(photos), ("word " * 5000, ""), strict=False)
    )
    bad, reply = LocalModel(ours).open()([long, good])
    assert isinstance(bad, NoAnswer)
    assert bad.kind == "bad_request"
    assert isinstance(reply, Reply)


def test_what_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="there is no folder .*nowhere"):
        LocalModel(tmp_path / "nowhere")
    with pytest.raises(AddressVLMError, match=r"has no config\.json"):
        LocalModel(tmp_path).open()
    with pytest.raises(UsageError, match="batch_size is 0"):
        LocalModel(tmp_path, 0)
