"""One photo, one question: the answer, or the belief behind it as a histogram on the map."""

from pathlib import Path
from typing import Any

from addressvlm.errors import AddressVLMError
from addressvlm.imagery.streetplot import plot_streets
from addressvlm.inference.histogram import StreetHistogram, street_histogram, write_geojson
from addressvlm.inference.localizer import Localizer

GEOJSON = "streets.geojson"
PNG = "streets.png"


def ask_photo(
    run: Path,
    photo: Path,
    question: str,
    *,
    samples: int = 0,
    temperature: float = 0.8,
    seed: int = 0,
    top_p: float = 1.0,
    top_k: int = 0,
    out: Path | None = None,
) -> dict[str, Any]:
    """Ask the model of a run about a photo.

    Gives `answer`, the greedy one. With `samples`, also the histogram of streets over as many sampled
    answers: `streets` (name, count, share; commonest first) and `none_of_these`; with `out`, its map as
    GeoJSON and PNG in that folder, named in `files`.
    """
    localizer = Localizer.load(run)
    result: dict[str, Any] = {"question": question, "answer": localizer.ask(photo, question)}
    if samples == 0:
        return result
    answers = localizer.sample(
        photo, question, samples=samples, temperature=temperature, seed=seed, top_p=top_p, top_k=top_k
    )
    histogram = street_histogram(answers, localizer.gazetteer)
    result |= {
        "samples": samples,
        "temperature": temperature,
        "seed": seed,
        "streets": histogram.streets[["name", "count", "share"]].to_dict("records"),
        "none_of_these": histogram.none_of_these,
    }
    if out is not None:
        result["files"] = _write_map(histogram, localizer, out, temperature)
    return result


def _write_map(
    histogram: StreetHistogram, localizer: Localizer, out: Path, temperature: float
) -> dict[str, str]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AddressVLMError(f"cannot make the folder {out}: {error.strerror or error}") from error
    write_geojson(histogram, out / GEOJSON)
    title = f"{histogram.answers} answers at temperature {temperature:g}"
    if histogram.none_of_these:
        title += f"; {100 * histogram.none_of_these:.0f} % name no street of the city"
    plot_streets(localizer.gazetteer, histogram.shares, out / PNG, title=title)
    return {"geojson": str(out / GEOJSON), "map": str(out / PNG)}
