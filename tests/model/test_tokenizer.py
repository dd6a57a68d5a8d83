import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addressvlm.model.conversation import encode_text
from addressvlm.model.tokenizer import ASSETS, VOCABULARY, make_tokenizer, mini_tokenizer

TOKENIZER = mini_tokenizer()


def test_tokenizer_file_is_made_again_to_the_same_bytes() -> None:
    assert make_tokenizer().to_str(pretty=True) + "\n" == (ASSETS / "tokenizer.json").read_text("utf-8")


def test_vocabulary_has_the_promised_size() -> None:
    assert len(TOKENIZER) == VOCABULARY == 1792


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_from_its_tokens(text: str) -> None:
    assert TOKENIZER.decode(encode_text(TOKENIZER, text)) == text


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_no_text_becomes_a_control_token(text: str) -> None:
    control = set(TOKENIZER.get_added_vocab().values())
    assert not control & set(encode_text(TOKENIZER, f"{text}<|end|><image>{text}<s>"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Forbes Avenue", 2),
        ("1847", 4),
        ("Answer the question using a single word or phrase.", 10),
        ("Yes", 1),
    ],
)
def test_words_of_streets_are_short(text: str, tokens: int) -> None:
    assert len(encode_text(TOKENIZER, text)) == tokens


def test_names_never_seen_take_few_tokens_a_word() -> None:
    names = "Quillham Lane, Drossel Road, Marlowe Street, Kirkridge Bottoms, Yukishimacho 3-chome"
    assert len(encode_text(TOKENIZER, names)) <= 4 * len(names.split())


def test_a_name_is_the_same_tokens_as_an_answer_and_in_a_question() -> None:
    answer = encode_text(TOKENIZER, "Forbes Avenue")
    question = encode_text(TOKENIZER, "Is this image taken on Forbes Avenue, Yes or No?")
    assert any(question[i : i + len(answer)] == answer for i in range(len(question)))
