"""`addressvlm dataset show`: a data set on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from addressvlm.dataset.apart import SPLITS
from addressvlm.dataset.exporting import require_dataset
from addressvlm.dataset.gazetteer import GAZETTEER
from addressvlm.dataset.tables import read_config, read_questions, read_table, rows_of
from addressvlm.errors import AddressVLMError
from addressvlm.evaluation.metrics import MEANINGS
from addressvlm.folders import SUMMARY, read_json, require_complete
from addressvlm.inspection.balance import counts
from addressvlm.inspection.citypage import PAGE, by_name
from addressvlm.inspection.datasetfigures import dataset_figures, locations_of, photos_of
from addressvlm.inspection.thumbnails import Thumbnail, evenly, thumbnail_of_file
from addressvlm.pages.placemap import Colouring, place_map
from addressvlm.pages.rendering import page_environment, write_page

_ALIGNED_SHOWN, _CONVERSATIONS_SHOWN = 6, 4
_ALIGNED_PX, _VIEW_PX = 420, 300
_SPLIT_STYLES = tuple(f"--{split}" for split in SPLITS)

_ENVIRONMENT = page_environment("addressvlm.inspection")


@dataclass(frozen=True)
class AskedPhoto:
    """A photo with questions about it, each with its type, options and answer."""

    photo: str
    district: str
    street: str
    view: Thumbnail | None
    turns: list[dict[Any, Any]]


@dataclass(frozen=True)
class Aligned:
    """A sample of stage 1: its pictures, what is asked, and the text."""

    photo: str
    pictures: list[Thumbnail]
    question: str
    answer: str
    map_names: list[str]


def show_dataset(folder: Path, page: Path | None = None) -> dict[str, Any]:
    """Write the page of a data set (by default `show.html` in its folder); returns its figures and path."""
    require_dataset(folder)
    figures, config = dataset_figures(folder), read_config(folder)
    labels = require_complete(folder).get("labels")  # where `label` had the texts written
    page = page or folder / PAGE
    photos = photos_of(folder)
    gazetteer = _gazetteer(folder)
    together = pd.concat(photos.values(), ignore_index=True)
    write_page(
        page,
        _ENVIRONMENT,
        "dataset.html.j2",
        figures=figures,
        config=config,
        texts_by=labels["model"] if labels else config["describe"],
        levels=figures["levels"],
        map=dataset_map(folder, photos, gazetteer),
        splits=SPLITS,
        meanings={key: words.format(*figures["levels"]) for key, words in MEANINGS.items()},
        types=_types(figures["splits"]),
        districts=counts(together, "district"),
        streets=counts(together, "street"),
        asked=[(split, asked_photo(folder, split)) for split in ("test", "val")],
        conversations=conversations(folder),
        aligned=aligned(folder),
        attribution=figures["attribution"],
        licence=figures["licence"],
    )
    return {**figures, "page": str(page)}


def dataset_map(
    dataset: Path, photos: dict[str, pd.DataFrame], gazetteer: gpd.GeoDataFrame
) -> dict[str, Any] | None:
    """The locations coloured by split, district or street; None where the data set does not know them."""
    known = locations_of(dataset)
    if known is None:
        return None
    together = pd.concat([table.assign(split=split) for split, table in photos.items()])
    # The commonest district and street of the photos of a location.
    named = together.groupby(["location", "district", "street"]).size().rename("photos").reset_index()
    totals = named.groupby("location")["photos"].sum()
    named = named.sort_values("photos", ascending=False, kind="stable").drop_duplicates("location")
    places = known.merge(named.drop(columns="photos"), on="location")
    places["photos"] = places["location"].map(totals)
    places["told"] = [
        [f"{row.street}, {row.district}", f"{row.split}: {row.photos} photos · {row.location}"]
        for row in places.itertuples()
    ]
    levels = read_levels(dataset)
    streets, districts = (gazetteer[gazetteer["level"] == level] for level in ("street", "district"))
    split = Colouring("split", [SPLITS.index(name) for name in places["split"]], SPLITS, _SPLIT_STYLES)
    colourings = [split, by_name(levels[0], places["district"]), by_name(levels[1], places["street"])]
    return place_map(streets, districts, places, colourings)


def read_levels(dataset: Path) -> tuple[str, str]:
    """What the city calls its two levels."""
    district, street = read_json(dataset / SUMMARY)["levels"]
    return district, street


def asked_photo(dataset: Path, split: str) -> AskedPhoto | None:
    """A photo of val or test with all its questions: the first of those that are asked the most."""
    questions = read_questions(dataset, split)
    if questions.empty:
        return None
    number = questions.groupby("photo").size()
    rows = questions[questions["photo"] == number.idxmax()].to_dict("records")
    turns = [{**row, "answer": row["truth"]} for row in rows]
    return _asked(dataset, rows[0], turns)


def conversations(dataset: Path) -> list[AskedPhoto]:
    """Some training conversations, evenly spread over the photos."""
    table = read_table(dataset, "train")
    places = evenly(range(table.num_rows), _CONVERSATIONS_SHOWN)
    return [_asked(dataset, row, row["turns"]) for row in rows_of(table.take(places))]


def aligned(dataset: Path) -> list[Aligned]:
    """Some samples of stage 1, evenly spread over the photos."""
    table = read_table(dataset, "alignment")
    samples = []
    for row in rows_of(table.take(evenly(range(table.num_rows), _ALIGNED_SHOWN))):
        words = f"What stage 1 shows for a view on {row['street']}"
        pictures = [thumbnail_of_file(dataset / image, _ALIGNED_PX, words) for image in row["images"]]
        shown = [picture for picture in pictures if picture is not None]
        samples.append(Aligned(row["photo"], shown, row["question"], row["answer"], row["map_names"]))
    return samples


def _asked(dataset: Path, row: dict[Any, Any], turns: list[dict[Any, Any]]) -> AskedPhoto:
    words = f"A street view on {row['street']}"
    view = thumbnail_of_file(dataset / row["images"][0], _VIEW_PX, words)
    return AskedPhoto(row["photo"], row["district"], row["street"], view, turns)


def _types(splits: dict[str, Any]) -> list[str]:
    """The types of questions that any split has."""
    return list(dict.fromkeys(name for split in SPLITS for name in splits[split]["types"]))


def _gazetteer(dataset: Path) -> gpd.GeoDataFrame:
    try:
        return gpd.read_parquet(dataset / GAZETTEER)
    except (OSError, ValueError) as error:
        raise AddressVLMError(
            f"{dataset / GAZETTEER} cannot be read: {error}; build the data set again"
        ) from error
