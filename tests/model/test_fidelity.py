"""The paper's model at full size: sizes without weights, text with the real tokenizer, pictures, loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from phi3_specimen import phi3_tokenizer, vectors
from PIL import Image
from torch.nn import functional
from transformers import AutoModelForImageTextToText, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from addressvlm.model.conversation import IGNORED, Turn, encode_conversation, encode_text
from addressvlm.model.lora import PARTS, add_adapter, part_of
from addressvlm.model.pictures import picture_tokens
from addressvlm.model.presets import PRESETS
from addressvlm.model.template import template_of

FULL = PRESETS["llava-phi3-mini"]
LLAMA_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
TURNS = [
    Turn("Which street is this?", "Forbes Avenue"),
    Turn("Is this image taken in Downtown, Yes or No?", "No"),
    Turn("(A) Oak Street (B) 3rd Avenue (C) Rue de l'Été (D) 本町通り", "B"),
]


def on_meta(preset: str = "llava-phi3-mini") -> PreTrainedModel:
    """The full size, with shapes and without weights."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(PRESETS[preset].config(phi3_tokenizer()))


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


# --- text


def test_the_tokenizer_reproduces_all_vectors_of_llama_cpp() -> None:
    tokenizer = phi3_tokenizer()
    wrong = [text for text, ids in vectors() if list(encode_text(tokenizer, text)) != ids]
    assert (len(vectors()), wrong) == (47, [])


def as_xtuner_does(tokenizer: PreTrainedTokenizerBase, turns: list[Turn], pictures: list[int]) -> list[int]:
    """xtuner's road, written from its documentation: every text by itself, cut at `<image>`, one <s>."""
    ids = [tokenizer.bos_token_id]
    for number, turn in enumerate(turns):
        question = f"<image>\n{turn.question}" if number == 0 else turn.question
        prompt = f"<|user|>\n{question}<|end|>\n<|assistant|>\n"
        chunks = [tokenizer(chunk, add_special_tokens=False).input_ids for chunk in prompt.split("<image>")]
        ids += chunks[0] if number else [*chunks[0], *pictures, *chunks[1]]
        ids += tokenizer(f"{turn.answer}", add_special_tokens=False).input_ids
        ids += tokenizer("<|end|>\n", add_special_tokens=False).input_ids
    return ids


def test_whole_conversations_have_the_tokens_of_the_reference() -> None:
    tokenizer = phi3_tokenizer()
    picture = [template_of(tokenizer).picture_token] * 576
    for length in (1, 2, 3):
        encoded = encode_conversation(tokenizer, TURNS[:length], image_tokens=576)
        assert encoded.ids == as_xtuner_does(tokenizer, TURNS[:length], picture)


def test_a_short_conversation_token_by_token() -> None:
    encoded = encode_conversation(phi3_tokenizer(), TURNS[:2], image_tokens=1)
    ignored, end = IGNORED, 32007
    question = [29871, 13, 8809, 436, 11952, 338, 445, 29973]
    second = [1317, 445, 1967, 4586, 297, 26028, 593, 776, 29892, 3869, 470, 1939, 29973]
    forbes, no = [1152, 5707, 18874], [1939]
    # Line breaks behind <|user|>, <|assistant|> and <|end|> are swallowed, the one behind the picture is not.
    assert encoded.ids == [
        *(1, 32010, 32011, *question, end, 32001, *forbes, end),
        *(32010, *second, end, 32001, *no, end),
    ]
    assert encoded.labels == [
        *([ignored] * 13 + [*forbes, end]),
        *([ignored] * 16 + [*no, end]),
    ]


def test_an_answer_ends_at_32007() -> None:
    assert template_of(phi3_tokenizer()).end == 32007


# --- sizes


def test_parameters_of_the_paper_s_model() -> None:
    model = on_meta()
    parts = model.base_model
    assert count(parts.language_model) + count(model.lm_head) == 3_821_079_552  # published: 3.8 B
    assert count(parts.vision_tower) == 303_507_456  # published: 304 M
    assert count(parts.multi_modal_projector) == 1024 * 3072 + 3072 + 3072 * 3072 + 3072


def test_adapters_of_rank_128() -> None:
    adapted = add_adapter(on_meta(), PARTS, rank=128, alpha=256, dropout=0.05, seed=0)
    trained = dict.fromkeys(PARTS, 0)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad:
            trained[part_of(name)] += weight.numel()  # type: ignore[index]  # all are of a part
    layer = 128 * ((3072 + 9216) + (3072 + 3072) + (3072 + 16384) + (8192 + 3072))
    tower = 128 * (4 * (1024 + 1024) + 2 * (1024 + 4096))
    assert trained == {"vision": 23 * tower, "projector": 12_589_056, "language": 32 * layer}
    assert (23 * tower, 32 * layer) == (54_263_808, 201_326_592)


def test_phi_3_rewritten_as_llama_has_the_same_weights_and_larger_adapters() -> None:
    """As xtuner publishes it for Transformers: query, key and value apart, gate and up apart."""
    config = FULL.config(phi3_tokenizer())
    sizes = {key: getattr(config.text_config, key) for key in LLAMA_SIZES}
    config.text_config = LlamaConfig(**sizes)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    assert count(model.base_model.language_model) + count(model.lm_head) == 3_821_079_552
    adapted = add_adapter(model, ("language",), rank=128, alpha=256, dropout=0.05, seed=0)
    assert sum(w.numel() for w in adapted.parameters() if w.requires_grad) == 239_075_328


def test_a_picture_is_576_tokens_of_the_features_before_the_last_layer() -> None:
    config = FULL.config(phi3_tokenizer())
    assert picture_tokens(config) == config.image_seq_length == 576
    assert (config.vision_feature_layer, config.vision_feature_select_strategy) == (-2, "default")


def test_llava_onevision_has_the_sizes_of_siglip_and_qwen2_7b() -> None:
    model = on_meta("llava-onevision-7b")
    parts = model.base_model
    assert type(model).__name__ == "LlavaOnevisionForConditionalGeneration"
    rows = 152_128 - 152_064  # what LLaVA-OneVision adds to Qwen2's embedding and head
    assert count(parts.language_model) + count(model.lm_head) == 7_615_616_512 + 2 * rows * 3584
    assert picture_tokens(model.config) == 27 * 27 + 1


# --- pictures and loss


@pytest.mark.parametrize("size", [(640, 480), (512, 512), (336, 336), (300, 401)])
def test_pixels_are_those_of_llava(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    settings = FULL.preprocessing
    found = settings.normalise(torch.from_numpy(settings.pixels(image)[None]))
    torch.testing.assert_close(found[0], plain_llava(image), rtol=1e-5, atol=1e-5)
    stock = LlavaImageProcessorPil(
        do_pad=True, size={"height": 336, "width": 336}, crop_size={"height": 336, "width": 336}
    )
    torch.testing.assert_close(found, stock(image, return_tensors="pt").pixel_values, rtol=1e-5, atol=1e-5)


def plain_llava(image: Image.Image) -> torch.Tensor:
    """Pad to a square of (122, 116, 104), bicubic to 336, CLIP's mean and deviation; (3, 336, 336)."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), (122, 116, 104))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    values = np.asarray(square.resize((336, 336), Image.Resampling.BICUBIC), np.float32) / 255
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    normalised = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(normalised.transpose(2, 0, 1).copy())


def test_labels_give_the_loss_of_answers_alone() -> None:
    """Cross-entropy over the places that predict an answer or its end, counted by hand from the text."""
    tokenizer = phi3_tokenizer()
    encoded = encode_conversation(tokenizer, TURNS, image_tokens=2)
    logits = torch.randn(len(encoded.ids), 32_064, generator=torch.Generator().manual_seed(0))
    shifted = functional.cross_entropy(logits[:-1], torch.tensor(encoded.labels[1:]), ignore_index=IGNORED)
    answers = [
        place
        for place, token in enumerate(encoded.ids)
        if 32001 in encoded.ids[:place] and _in_an_answer(encoded.ids, place) and token != 32001
    ]
    by_hand = torch.stack([-logits[p - 1].log_softmax(-1)[encoded.ids[p]] for p in answers]).mean()
    torch.testing.assert_close(shifted, by_hand)


def _in_an_answer(ids: list[int], place: int) -> bool:
    """Whether the last role token before a place is the assistant's, and no <|end|> lies between."""
    before = ids[:place]
    role = max(p for p, token in enumerate(before) if token in (32001, 32010))
    return before[role] == 32001 and 32007 not in before[role:]


def test_specimen_names_its_source() -> None:
    assert "MIT" in (Path(__file__).parent / "specimens" / "phi-3-mini" / "SOURCE.md").read_text("utf-8")
