import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parrots import open_mumbler, open_parrot, open_suicidal, parrot

from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.describing import read_hint
from addressvlm.dataset.exporting import export_dataset
from addressvlm.dataset.files import map_file, photo_file
from addressvlm.dataset.labelcalls import Ask, BudgetSpent, NoAnswer, Reply
from addressvlm.dataset.labeljob import LEDGER, label_dataset
from addressvlm.dataset.labeloptions import LabelOptions, Limits
from addressvlm.dataset.tables import read_config, read_conversations, read_table, write_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import own_folder, read_json, require_complete, sha256, write_json
from addressvlm.inspection.datasetpage import show_dataset


@pytest.fixture(scope="module")
def dataset(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 alignment samples of the town. Tests must not change it."""
    out = tmp_path_factory.mktemp("label") / "data"
    build_dataset(town, out, image_px=224, workers=1)
    return out


def label(dataset: Path, out: Path, **changes: Any) -> dict[str, Any]:
    return label_dataset(dataset, out, **{"describer": open_parrot, "model": "parrot", **changes})


def test_the_new_data_set_has_new_answers_and_is_otherwise_the_old_one(dataset: Path, tmp_path: Path) -> None:
    summary = label(dataset, tmp_path / "out")
    old, new = (read_table(folder, "alignment").to_pylist() for folder in (dataset, tmp_path / "out"))
    assert [{**row, "answer": ""} for row in new] == [{**row, "answer": ""} for row in old]
    assert all(row["answer"] and row["street"] in row["answer"] for row in new)
    assert summary["alignment"] == {"samples": 28, "maps": 14}
    assert summary["labels"]["labelled"] == 28
    assert summary["account"]["outcomes"] == {"accepted": 28}
    assert summary["splits"] == require_complete(dataset)["splits"]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"train.parquet", "val.parquet", "test.parquet", "gazetteer.parquet", "review.html"}
    assert not list((tmp_path / "out").glob("ledger.sqlite-*"))
    conversations = read_conversations(tmp_path / "out", "alignment")
    assert len(conversations) == 28
    assert all(image.exists() for image in conversations[0].images)


def test_pictures_are_flushed_to_disk(dataset: Path, tmp_path: Path, flushes: list[None]) -> None:
    label(dataset, tmp_path / "out")
    assert len(flushes) == 1


def test_the_hint_is_seen_by_the_describer_and_by_nobody_else(dataset: Path, tmp_path: Path) -> None:
    asked, describe = listener()
    label(dataset, tmp_path / "out", describer=lambda: describe)
    row = read_table(dataset, "alignment").to_pylist()[0]
    first = next(ask for ask in asked if ask.images == (dataset / row["images"][0],))
    assert len({ask.instructions for ask in asked}) == 1
    assert not any(name in first.instructions for name in (row["street"], row["district"]))
    hint = read_hint(f"\n{first.hint}")
    assert (hint.street, hint.district) == (row["street"], row["district"])
    for turn in (c.turns[0] for c in read_conversations(tmp_path / "out", "alignment")):
        assert not any(name in turn[0] for name in (row["street"], row["district"], "Hint"))


def test_rows_are_in_the_order_of_the_data_set_whoever_comes_first(dataset: Path, tmp_path: Path) -> None:
    one = label(dataset, tmp_path / "one", limits=Limits(concurrency=1))
    many = label(dataset, tmp_path / "many", limits=Limits(concurrency=8))
    assert sha256(tmp_path / "one" / "alignment.parquet") == sha256(tmp_path / "many" / "alignment.parquet")
    assert {**one, "account": 0} == {**many, "account": 0}


def test_what_cannot_be_learned_is_left_out_and_kept_aside_with_reasons(
    dataset: Path, tmp_path: Path
) -> None:
    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        (reply,) = parrot(asks)
        told = "1-1-0" in str(asks[0].images[0])
        return [Reply("According to the hint, so it is.")] if told else [reply]

    summary = label(dataset, tmp_path / "out", describer=lambda: describe, tries=2)
    assert summary["labels"]["set_aside"] == {"samples": 1, "reasons": {"hint told": 1}}
    assert summary["labels"]["rejected_answers"] == {"hint told": 2}
    assert summary["alignment"]["samples"] == 27
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["photo"] == "1-1-0"
    page = (tmp_path / "out" / "review.html").read_text()
    assert page.count("<article>") == 28
    assert "hint told: hint" in page
    # With more tries, only that sample is asked about again.
    again = label(dataset, tmp_path / "out", tries=3)
    assert again["alignment"]["samples"] == 28
    assert again["account"]["calls"] == summary["account"]["calls"] + 1


def test_further_tries_are_warmer_and_have_other_seeds(dataset: Path, tmp_path: Path) -> None:
    asked: list[Ask] = []

    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        asked.extend(asks)
        return [Reply("Hm.")]

    with pytest.raises(AddressVLMError, match=r"no sample got a label: length \(28\).*'Hm.'"):
        label(dataset, tmp_path / "out", describer=lambda: describe, temperature=0.1, tries=2)
    assert {ask.temperature for ask in asked} == {0.1, 0.3}
    assert len({ask.seed for ask in asked}) == 56


def test_a_picture_that_cannot_be_read_costs_its_sample_only(dataset: Path, tmp_path: Path) -> None:
    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        if "1-1-0" in str(asks[0].images[0]):
            return [NoAnswer("picture", "it is broken")]
        return parrot(asks)

    summary = label(dataset, tmp_path / "out", describer=lambda: describe)
    assert summary["labels"]["set_aside"] == {"samples": 1, "reasons": {"picture": 1}}


def test_the_rivals_labels_are_about_street_view_and_district_alone(dataset: Path, tmp_path: Path) -> None:
    asked: list[Ask] = []

    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        asked.extend(asks)
        district = json.loads(asks[0].hint.removeprefix("Hint: "))["district"]
        return [Reply(f"This image is located in {district}, as its low brick walls and wide kerbs show.")]

    label(dataset, tmp_path / "out", describer=lambda: describe, prompt="georeasoner")
    streets = set(read_table(dataset, "alignment", ["street"])["street"].to_pylist())
    assert not any(street in ask.instructions + ask.hint for ask in asked for street in streets)
    conversation = read_conversations(tmp_path / "out", "alignment")[0]
    assert conversation.images == (tmp_path / "out" / "images" / "photos" / "1-1-0.jpg",)
    assert conversation.turns[0][0].startswith("Examine the image presented, and deduce from which district")


def test_a_spent_budget_stops_the_job_and_a_larger_one_goes_on(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent, match="10 calls and 10000 tokens: 10 of 28 samples"):
        label(dataset, tmp_path / "out", limits=Limits(budget_calls=10))
    assert not (tmp_path / "out" / "summary.json").exists()
    summary = label(dataset, tmp_path / "out", limits=Limits(budget_calls=100, price_in=1, price_out=10))
    assert summary["account"]["calls"] == 28
    assert summary["account"]["cost"] == pytest.approx(28 * 0.0019)


def test_a_budget_of_tokens_needs_a_server_that_tells_them(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not tell how many tokens"):
        label(dataset, tmp_path / "out", describer=open_mumbler, limits=Limits(budget_tokens=10_000))


def test_what_no_call_can_get_past_ends_the_job_at_once(dataset: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        calls.append(1)
        raise AddressVLMError("the key is refused")

    with pytest.raises(AddressVLMError, match="the key is refused"):
        label(dataset, tmp_path / "out", describer=lambda: describe)
    assert len(calls) == 1
    assert label(dataset, tmp_path / "out")["account"]["outcomes"] == {"accepted": 28, "stopped": 1}


def test_a_worker_process_that_is_killed_is_replaced(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    describer = partial(open_suicidal, tmp_path / "killed")
    summary = label(dataset, tmp_path / "out", describer=describer, limits=Limits(concurrency=2), workers=2)
    assert summary["account"]["outcomes"] == {"accepted": 28, "lost": 1}
    assert "a worker was killed (signal 9); another takes its place" in capfd.readouterr().err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's answer to an interruption; a shell's background jobs begin with none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_job_lets_the_calls_in_flight_end(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        if "1-2-0" in str(asks[0].images[0]):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # still in flight when the main thread notices
        return parrot(asks)

    with pytest.raises(KeyboardInterrupt):
        label(dataset, tmp_path / "out", describer=lambda: describe, limits=Limits(concurrency=1))
    assert "waiting for the calls in flight" in capsys.readouterr().err
    with sqlite3.connect(tmp_path / "out" / LEDGER) as ledger:
        assert ledger.execute("SELECT outcome, COUNT(*) FROM calls GROUP BY 1").fetchall() == [
            ("accepted", 3)
        ]
    ledger.close()
    assert label(dataset, tmp_path / "out")["account"]["outcomes"] == {"accepted": 28}


def test_a_complete_job_is_left_as_it_is(dataset: Path, tmp_path: Path) -> None:
    first = label(dataset, tmp_path / "out")
    assert label(dataset, tmp_path / "out", describer=open_mumbler) == first


def test_another_job_in_the_same_folder_is_refused_by_what_differs(dataset: Path, tmp_path: Path) -> None:
    label(dataset, tmp_path / "out")
    with pytest.raises(UsageError, match='model: "parrot" there, "oracle" now'):
        label(dataset, tmp_path / "out", model="oracle")


def test_a_ledger_that_was_copied_from_another_job_is_refused(dataset: Path, tmp_path: Path) -> None:
    label(dataset, tmp_path / "out")
    with pytest.raises(BudgetSpent):
        label(dataset, tmp_path / "other", model="oracle", limits=Limits(budget_calls=1))
    (tmp_path / "other" / LEDGER).write_bytes((tmp_path / "out" / LEDGER).read_bytes())
    with pytest.raises(UsageError, match="ledger.sqlite is the ledger of another job"):
        label(dataset, tmp_path / "other", model="oracle")


def test_a_data_set_that_is_spoilt_or_labelled_already_is_refused(dataset: Path, tmp_path: Path) -> None:
    changed(dataset, tmp_path / "blank", control="blank")
    with pytest.raises(UsageError, match="spoilt on purpose .control = blank."):
        label(tmp_path / "blank", tmp_path / "a")
    with pytest.raises(UsageError, match="is the data set itself"):
        label(dataset, dataset)
    label(dataset, tmp_path / "labelled")
    with pytest.raises(UsageError, match="no data set made by `dataset build`"):
        label(tmp_path / "labelled", tmp_path / "b")


def test_a_labelled_data_set_can_be_exported_and_shown_like_the_old_one(
    make_town: Callable[..., Path], tmp_path: Path
) -> None:
    source, labelled, out = tmp_path / "data", tmp_path / "labelled", tmp_path / "export"
    build_dataset(make_town(tmp_path / "town"), source, image_px=224, delta=0.4, seed=5, workers=1)
    label(source, labelled, seed=9)
    assert read_config(labelled) == read_config(source)
    assert read_config(labelled)["seed"] == 5
    export_dataset(labelled, out, "llava")
    told = {row["id"]: row["conversations"][1]["value"] for row in read_json(out / "alignment.json")}
    assert told == {row["photo"]: row["answer"] for row in read_table(labelled, "alignment").to_pylist()}
    card = (out / "README.md").read_text("utf-8")
    for words in ("by location at 0.7:0.2:0.1 with seed 5", "the view 0.4 of the", "were written by parrot"):
        assert words in card
    assert "has not looked at the pictures" not in card
    show_dataset(labelled)
    assert "Texts by parrot." in (labelled / "show.html").read_text("utf-8")
    (labelled / "source.json").unlink()  # as in folders made before there was one
    with pytest.raises(AddressVLMError, match="run the `label` command that made it again"):
        export_dataset(labelled, tmp_path / "again", "llava")
    label(source, labelled, seed=9)
    assert read_config(labelled)["seed"] == 5


def test_the_card_of_the_rivals_labels_tells_of_street_views_alone(dataset: Path, tmp_path: Path) -> None:
    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        district = json.loads(asks[0].hint.removeprefix("Hint: "))["district"]
        return [Reply(f"This image is located in {district}, as its low brick walls and wide kerbs show.")]

    label(dataset, tmp_path / "labelled", describer=lambda: describe, prompt="georeasoner")
    export_dataset(tmp_path / "labelled", tmp_path / "out", "llava")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "alignment pictures are the street views alone; their texts were written by parrot" in card
    assert "satellite" not in card


def listener() -> tuple[list[Ask], Callable[[Sequence[Ask]], list[Reply | NoAnswer]]]:
    """A describer like `parrot`, and the list of all that it is asked."""
    asked: list[Ask] = []

    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        asked.extend(asks)
        return parrot(asks)

    return asked, describe


def changed(dataset: Path, copy: Path, **config: str) -> Path:
    """A copy of the data set as if it had been made with other options."""
    shutil.copytree(dataset, copy)
    write_json(copy / "config.json", {**read_json(dataset / "config.json"), **config})
    return copy


def test_labellers_are_told_that_photos_were_taken_anywhere_on_their_maps(
    dataset: Path, tmp_path: Path
) -> None:
    asked, describe = listener()
    label(changed(dataset, tmp_path / "aside", control="aside"), tmp_path / "out", describer=lambda: describe)
    assert asked
    for ask in asked:
        assert "somewhere on" in ask.instructions
        assert "at the centre of" not in ask.instructions


def test_two_pictures_are_asked_about_together(dataset: Path, tmp_path: Path) -> None:
    asked, describe = listener()
    pair = changed(dataset, tmp_path / "pair", variant="pair")
    rows = read_table(dataset, "alignment").to_pylist()
    files = [[map_file(row["location"]), photo_file(row["photo"])] for row in rows]
    pairs = [{**row, "images": images} for row, images in zip(rows, files, strict=True)]
    write_table(pair, "alignment", pairs)
    label(pair, tmp_path / "out", describer=lambda: describe)
    assert {tuple(image.parent.name for image in ask.images) for ask in asked} == {("maps", "photos")}
    assert asked[0].instructions.startswith("The first image is a satellite view")


def test_a_folder_that_another_process_writes_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    with (
        own_folder(tmp_path / "out"),
        pytest.raises(AddressVLMError, match="another process is writing"),
    ):
        label(dataset, tmp_path / "out")


def test_options_that_make_no_sense_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="workers is 0"):
        label(dataset, tmp_path / "out", workers=0)
    for wrong in ({"tries": 0}, {"temperature": -1}, {"min_words": 9, "max_words": 8}, {"prompt": "poem"}):
        with pytest.raises(UsageError):
            LabelOptions(**wrong)  # type: ignore[arg-type]
    prices = ({"price_in": -1.0, "price_out": 1.0}, {"price_in": 1.0}, {"price_out": 1.0})
    for wrong in ({"concurrency": 0}, {"budget_calls": 0}, {"timeout_s": 0.0}, *prices):
        with pytest.raises(UsageError):
            Limits(**wrong)  # type: ignore[arg-type]
