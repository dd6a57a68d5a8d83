import pytest

from addressvlm.dataset.labelcheck import Names, Truth, fault, tidy, words
from addressvlm.dataset.labeloptions import LabelOptions

NAMES = Names(
    [
        *(
            {"level": "street", "name": name, "spellings": [name]}
            for name in ("Forbes Avenue", "Ross Street", "Fifth Avenue", "Hint Road", "Park", "The Strand")
        ),
        *(
            {"level": "district", "name": name, "spellings": [name]}
            for name in ("Downtown", "Old Town", "Forbes")
        ),
        {"level": "street", "name": "Königstraße", "spellings": ["Königstraße", "Koenigstr."]},
        {"level": "street", "name": "桜通り", "spellings": ["桜通り"]},
        {"level": "district", "name": "銀座1丁目", "spellings": ["銀座1丁目"]},
    ]
)
TRUTH = Truth("Downtown", "Forbes Avenue", ("Forbes Avenue", "Ross Street"))
# The example that the paper prints.
PAPER = (
    "Based on the visual clues provided in the image, the street view in the right-upper corner appears to "
    "be taken from a location near the intersection of Forbes Avenue and Ross Street in Downtown Pittsburgh. "
    "The buildings match the grey roofs north of the crossing."
)


def kind(text: str, truth: Truth = TRUTH, **options: int) -> str | None:
    wrong = fault(text, truth, NAMES, LabelOptions(**options))
    return wrong[0] if wrong else None


def test_the_papers_own_example_is_fit() -> None:
    assert kind(PAPER) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "empty"),
        ("…!?", "empty"),
        ("Forbes Avenue, Downtown.", "length"),
        ("word " * 260 + "Forbes Avenue Downtown", "length"),
        (PAPER.replace("Forbes Avenue", "this road"), "no street"),
        (PAPER.replace("Downtown Pittsburgh", "Pittsburgh"), "no district"),
        (PAPER + " It looks like Old Town.", "other district"),
        (PAPER + " Fifth Avenue runs south of it.", "other street"),
        (PAPER + " The photo was taken on Ross Street.", "other place"),
        (PAPER + " The camera is located on the Ross Street.", "other place"),
        ("This is Ross Street, a quiet road with tall houses. " + PAPER, "other place"),
        (PAPER + " This agrees with the hint.", "hint told"),
        (PAPER + " According to the address, it is so.", "hint told"),
        (PAPER + " As given, the provided location fits the facts.", "hint told"),
        (PAPER + " I was told so.", "hint told"),
        ("I'm sorry, but I can't help. " + PAPER, "refusal"),
        (PAPER + " It is not possible to determine more.", "refusal"),
        (PAPER + "<|end|>", "control token"),
        (PAPER + " It is so." * 12, "repetition"),
    ],
)
def test_what_must_not_be_learned_is_rejected_by_kind(text: str, wrong: str) -> None:
    assert kind(text) == wrong


@pytest.mark.parametrize(
    "more",
    [
        " The street meets Ross Street north of the photo.",
        " Ross Street can be read on the map, too.",
        " A park with benches lies beside it.",  # not the street called Park
        " The facts of the picture, the details provided in the image, agree.",
        " The lower strand of houses is white.",
        " One of the shops is called Forbes.",  # a district of that name is named, the true one as well
    ],
)
def test_what_is_only_mentioned_is_fine(more: str) -> None:
    wanted = "other district" if "called Forbes" in more else None
    assert kind(PAPER + more) == wanted


def test_a_place_may_be_called_as_a_word_that_tells() -> None:
    text = PAPER.replace("Forbes Avenue", "Hint Road")
    assert kind(text, Truth("Downtown", "Hint Road", ("Ross Street",))) is None


def test_an_answer_that_was_cut_off_is_rejected() -> None:
    assert fault(PAPER, TRUTH, NAMES, LabelOptions(), cut=True) == ("cut off", "it ended at max_tokens")


def test_the_longest_name_is_meant_and_punctuation_does_not_matter() -> None:
    found = NAMES.found("On FORBES-AVENUE, not in Forbes: Koenigstr, THE STRAND")
    named = [sorted(mention.names) for mention in found]
    assert named == [
        [("street", "Forbes Avenue")],
        [("district", "Forbes")],
        [("street", "Königstraße")],
        [("street", "The Strand")],
    ]


def test_names_are_found_in_scripts_without_spaces() -> None:
    assert words("銀座1丁目") == ("銀", "座", "1", "丁", "目")
    truth = Truth("銀座1丁目", "桜通り")
    assert kind("この写真は銀座1丁目の桜通りで撮影されたようです。地図と一致します。", truth) is None
    assert (
        kind("この写真は銀座11丁目の桜通りで撮影されたようです。地図と一致します。", truth) == "no district"
    )


def test_without_a_hinted_street_the_district_is_enough() -> None:
    truth = Truth("Downtown", "Forbes Avenue", street_hinted=False)
    assert (
        kind("This image is located in Downtown, where brick walls and wide kerbs are common.", truth) is None
    )
    assert kind(PAPER.replace(" and Ross Street", ""), truth) is None
    assert kind(PAPER, truth) == "other street"


def test_thoughts_before_the_answer_are_not_kept() -> None:
    assert tidy("<think>\nIs it so?\n</think>\n\nIt is\n\nso. ") == "It is so."
