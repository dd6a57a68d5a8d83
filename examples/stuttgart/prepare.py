"""Make examples/stuttgart/data from a clone of github.com/ualsg/global-streetscapes.

    python examples/stuttgart/prepare.py path/to/global-streetscapes

Writes data/views/ and data/views.csv (the perspective photos as they are, each panorama as twelve views),
data/positions.csv (all positions of Stuttgart with the street that the authors give) and
data/osm_streets_stuttgart.geojson (the streets they were matched to).
"""

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from PIL import Image

DATA = Path(__file__).parent / "data"
PHOTOS = "code/download_imgs/sample_output/all/1_50"
METADATA = "code/enrichment/sample_data/02_metadata_common_attributes.csv"
MATCHES = "code/enrichment/sample_data/snapped/1276171358_snapped.csv"
UTM_32N = "EPSG:32632"

VIEWS = 12  # of a panorama, evenly spread
FOV_DEG, PITCH_DEG, VIEW_PX = 70.0, 4.0, 384
PHOTO_PX = 768


def main(clone: Path) -> None:
    """Read the clone, write the data folder."""
    metadata = pd.read_csv(clone / METADATA).drop_duplicates("uuid").set_index("uuid")
    matches = pd.read_csv(clone / MATCHES, low_memory=False).drop_duplicates("uuid").set_index("uuid")
    places = metadata.join(matches[["name", "highway", "geometry_wkt"]], how="inner").sort_index()
    (DATA / "views").mkdir(parents=True, exist_ok=True)
    write_streets(matches)
    columns = {"name": "osm_street"}
    positions = places.rename(columns=columns)[["lat", "lon", "heading", "osm_street", "highway"]]
    positions.to_csv(DATA / "positions.csv", index_label="uuid")
    photos = (clone / PHOTOS).glob("*.jpeg")
    rows = [
        row
        for photo in sorted(photos)
        if photo.stem in places.index
        for row in views(photo, places.loc[photo.stem])
    ]
    pd.DataFrame(rows).to_csv(DATA / "views.csv", index=False)
    print(f"{len(rows)} views, {len(positions)} positions in {DATA}")


def write_streets(matches: pd.DataFrame) -> None:
    """One line for each different edge of the street graph."""
    edges = matches.drop_duplicates("geometry_wkt")[["name", "highway", "geometry_wkt"]]
    lines = gpd.GeoSeries.from_wkt(edges["geometry_wkt"], crs=UTM_32N).to_crs("EPSG:4326")
    table = gpd.GeoDataFrame(edges[["name", "highway"]], geometry=lines)
    table.to_file(DATA / "osm_streets_stuttgart.geojson", driver="GeoJSON")


def views(photo: Path, place: pd.Series) -> list[dict[str, object]]:
    """Write the views of one photo and return their rows."""
    image = Image.open(photo, formats=("JPEG",)).convert("RGB")
    pictures = {"_main": image}
    if place["projection_type"] == "spherical":
        pictures = {f"_yaw{360 * k // VIEWS:03d}": look(image, 360 * k / VIEWS) for k in range(VIEWS)}
    rows = []
    for number, (suffix, picture) in enumerate(pictures.items()):
        picture.thumbnail((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS)
        picture.save(DATA / "views" / f"{photo.stem}{suffix}.jpg", quality=92)
        rows.append(
            {
                "file": f"views/{photo.stem}{suffix}.jpg",
                "location_uuid": photo.stem,
                "lat": place["lat"],
                "lon": place["lon"],
                "heading": round((place["heading"] + 360 / VIEWS * number) % 360, 2),
                "osm_street": place["name"],
            }
        )
    return rows


def look(panorama: Image.Image, yaw_deg: float) -> Image.Image:
    """The perspective view of an equirectangular panorama, `yaw_deg` clockwise of its middle."""
    half = np.tan(np.radians(FOV_DEG / 2))
    across = (np.arange(VIEW_PX) + 0.5) / VIEW_PX * 2 - 1
    right, down = np.meshgrid(across * half, across * half)
    pitch = np.radians(PITCH_DEG)
    ahead = np.cos(pitch) + down * np.sin(pitch)
    up = np.sin(pitch) - down * np.cos(pitch)
    longitude = np.degrees(np.arctan2(right, ahead)) + yaw_deg
    latitude = np.degrees(np.arctan2(up, np.hypot(right, ahead)))
    pixels = np.asarray(panorama)
    height, width = pixels.shape[:2]
    x = ((longitude / 360 + 0.5) % 1) * width - 0.5
    y = (0.5 - latitude / 180) * height - 0.5
    return Image.fromarray(between_pixels(pixels, x, y))


def between_pixels(pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples at x, y (the panorama closes at its left and right edge)."""
    height, width = pixels.shape[:2]
    left, top = np.floor(x).astype(int), np.clip(np.floor(y).astype(int), 0, height - 2)
    east, south = (x - left)[..., None], np.clip(y - top, 0, 1)[..., None]
    rows = [
        pixels[line, left % width] * (1 - east) + pixels[line, (left + 1) % width] * east
        for line in (top, top + 1)
    ]
    return np.rint(rows[0] * (1 - south) + rows[1] * south).astype(np.uint8)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
