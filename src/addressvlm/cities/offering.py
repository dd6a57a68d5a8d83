"""The photos that a `city.toml` names, in whatever form they come: found, placed, and as a table."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from addressvlm.cities.annotations import annotated
from addressvlm.cities.cityfile import CityFile
from addressvlm.cities.locations import locations_of
from addressvlm.cities.ontrack import Clock, placed_on_track
from addressvlm.cities.panoramas import Cut, cut_into_views
from addressvlm.cities.photocsv import photos_in_csv
from addressvlm.cities.photojson import photos_in_json
from addressvlm.cities.photos import Offer, located, photos_in_folder
from addressvlm.cities.pitts import has_pitts_name, pitts_offers
from addressvlm.cities.vprnames import has_vpr_name, is_list_of_names, names_in_list, offer_of_name
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.tracks import read_track
from addressvlm.work import Workers

_TEXTS = ("source", "location", "time", "district", "street", "reason")
# So Python reads file names, and JSON, that are no UTF-8.
_HALF_A_LETTER = re.compile("[\ud800-\udfff]")


def offered(file: CityFile) -> list[Offer]:
    """Every photo that `photos` names, in their order, with its annotation; no photo is opened yet."""
    offers = _found(file)
    offers = annotated(offers, file.annotations) if file.annotations else offers
    return [_writable(offer) for offer in offers]


def _writable(offer: Offer) -> Offer:
    """The offer, or if tables cannot hold its texts, a rejected one with these texts escaped."""
    texts = {name: getattr(offer, name) or "" for name in _TEXTS}
    wrong = {name: text for name, text in texts.items() if _HALF_A_LETTER.search(text)}
    if not wrong:
        return offer
    reason = "its file name is no UTF-8" if "source" in wrong else "what is told of it is no UTF-8"
    changes: dict[str, Any] = {"reason": offer.reason or reason}
    changes |= {name: text.encode(errors="backslashreplace").decode() for name, text in wrong.items()}
    return replace(offer, **changes)


def _found(file: CityFile) -> list[Offer]:
    photos = file.photos
    if photos.is_dir():
        return _in_folder(file)
    if is_list_of_names(photos):
        if file.images:
            raise UsageError(f"photos = {photos.name!r} lists names alone: set images = false")
        return [offer_of_name(name) for name in names_in_list(photos)]
    if photos.suffix.lower() in (".csv", ".tsv", ".txt"):
        return photos_in_csv(photos, file.columns, images=file.images, places=file.track is None)
    if photos.suffix.lower() in (".json", ".geojson"):
        if file.columns:
            raise UsageError(f"photos = {photos.name!r} is no CSV: columns are for a CSV")
        return photos_in_json(photos, images=file.images)
    raise AddressVLMError(
        f"photos = {photos.name!r} is neither a folder nor a CSV (.csv, .tsv, .txt) nor JSON "
        "(.json, .geojson)"
    )


def placed(file: CityFile, offers: list[Offer], workers: Workers = None) -> list[Offer]:
    """The offers with all that their files and the track tell of place, heading and time."""
    if file.photos.is_dir() and not _all_named(
        offers, lambda name: has_vpr_name(name) or has_pitts_name(name)
    ):
        offers = located(offers, workers)
    if file.track is not None:
        clock = Clock(ZoneInfo(file.track_time_zone), file.track_clock_ahead_s)
        offers = placed_on_track(
            offers,
            read_track(file.track),
            clock,
            gap_s=file.track_gap_s,
            camera_deg=file.track_camera_deg if file.track_headings else None,
        )
    return cut_into_views(offers, cut_of(file), workers) if file.panorama_views else offers


def cut_of(file: CityFile) -> Cut:
    """How the file wants panoramas to be cut."""
    return Cut(file.panorama_views, file.panorama_fov_deg, file.panorama_pitch_deg)


def photo_table(offers: list[Offer], place_m: float) -> pd.DataFrame:
    """The offers as rows (see `Source.photos`); ids count them in their order."""
    return pd.DataFrame(
        {
            "photo": [f"p{number:06d}" for number in range(1, len(offers) + 1)],
            "location": locations_of(offers, place_m),
            "source": [offer.source for offer in offers],
            "lat": np.array([offer.lat for offer in offers], np.float64),
            "lon": np.array([offer.lon for offer in offers], np.float64),
            "heading_deg": np.array([offer.heading_deg for offer in offers], np.float64),
            "pitch_deg": np.array([offer.pitch_deg for offer in offers], np.float64),
            "time": [offer.time for offer in offers],
            "reason": [offer.reason for offer in offers],
            "path": [offer.path for offer in offers],
            "split": [offer.split or None for offer in offers],
            "label_district": [offer.district for offer in offers],
            "label_street": [offer.street for offer in offers],
            "yaw_deg": np.array([offer.yaw_deg for offer in offers], np.float64),
        }
    )


def _in_folder(file: CityFile) -> list[Offer]:
    if file.columns or not file.images:
        raise UsageError(
            f"photos = {file.photos.name!r} is a folder: columns and images = false are for a CSV"
        )
    found = photos_in_folder(file.photos)
    if _all_named(found, has_vpr_name):
        return [offer_of_name(one.source, one.path) for one in found]
    return pitts_offers(file.photos, found) if _all_named(found, has_pitts_name) else found


def _all_named(offers: list[Offer], like: Callable[[str], bool]) -> bool:
    """Whether the names of photos are those of a data set that tells places by them: then all are."""
    return bool(offers) and all(like(offer.source) for offer in offers)
