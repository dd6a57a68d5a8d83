import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addressvlm.cities.minicity import names
from addressvlm.model.conversation import encode_text
from addressvlm.model.tokenizer import ASSETS, VOCABULARY, make_tokenizer, mini_tokenizer

TOKENIZER = mini_tokenizer()


def test_tokenizer_file_is_made_again_to_the_same_bytes() -> None:
    assert make_tokenizer().to_str(pretty=True) + "\n" == (ASSETS / "tokenizer.json").read_text("utf-8")


def test_vocabulary_has_the_promised_size() -> None:
    assert len(TOKENIZER) == VOCABULARY == 1792


def test_the_corpus_knows_the_parts_of_mini_cities_names() -> None:
    """The package of models may not import that of cities, so the parts stand in both."""
    mini = tomllib.loads((ASSETS / "corpus.toml").read_text("utf-8"))["mini"]
    assert mini["fronts"].split() == list(names._FRONT)
    assert mini["backs"].split() == list(names._BACK)
    assert mini["kana_fronts"].split() == list(names._KANA_FRONT)
    assert mini["kana_backs"].split() == list(names._KANA_BACK)
    assert set(mini["types"].split()) >= {*names._PITTS_TYPES, *names._SF_TYPES}
    assert set(mini["quarters"].split()) == set(names._QUARTERS)
    assert mini["californian"].split() == list(names._CALIFORNIAN)
    assert mini["spanish_ends"].split() == list(names._SPANISH_ENDS)
    assert {f"-{kind}" for kind in mini["kana_types"].split()} == set(names._KANA_TYPES)


@pytest.mark.parametrize(
    ("fronts", "backs"), [(names._FRONT, names._BACK), (names._KANA_FRONT, names._KANA_BACK)]
)
def test_names_of_mini_cities_fall_into_their_parts(fronts: tuple[str, ...], backs: tuple[str, ...]) -> None:
    found = [TOKENIZER.tokenize(front + back) for front in fronts for back in backs]
    parts = [[f"Ġ{front}", back] for front in fronts for back in backs]
    others = [one for one, other in zip(found, parts, strict=True) if one != other]
    assert others in ([], [["ĠGarden"]])  # a word of its own


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
