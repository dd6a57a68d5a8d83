import copy
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import torch
from PIL import Image
from street_lessons import JOINT_ANSWERS, STREETS

from addressvlm.dataset.questions import plain_questions
from addressvlm.folders import open_step
from addressvlm.imagery.opening import save_jpeg
from addressvlm.inference.prompts import normalised, sight
from addressvlm.model.backbone import Backbone, build_backbone, save_backbone
from addressvlm.model.conversation import encode_text
from addressvlm.model.presets import PRESETS, Preset, Tower

TINY = Preset(
    vision=Tower("clip", width=32, layers=2, heads=2, mlp=64),
    text=Tower("phi3", width=32, layers=2, heads=2, mlp=64),
    image_px=28,
    patch_px=14,
    vision_feature_layer=-1,
)


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """Random weights of a few ten thousand numbers: it says the same nonsense every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        return build_backbone("tiny", seed=0)


@pytest.fixture(scope="session")
def tiny_siglip() -> Backbone:
    """The same in the other family: SigLIP and Qwen2."""
    towers = replace(TINY.vision, family="siglip"), replace(TINY.text, family="qwen2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny-siglip", replace(TINY, vision=towers[0], text=towers[1]))
        return build_backbone("tiny-siglip", seed=0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pictures of different colours and shapes."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number, (size, colour) in enumerate({(40, 30): "red", (30, 40): "green", (28, 28): "blue"}.items()):
        image = Image.new("RGB", size, colour)
        image.paste("white", (0, 0, 10 + number, 10))
        save_jpeg(image, folder / f"{number}.jpg")
        paths.append(folder / f"{number}.jpg")
    return paths


@pytest.fixture(scope="session")
def gazetteer() -> gpd.GeoDataFrame:
    """Three streets of one district."""
    lines = {
        "Oak Street": [(9.0, 48.0), (9.01, 48.0)],
        "Elm Street": [(9.0, 48.001), (9.01, 48.001)],
        "Low Road": [(9.0, 48.002), (9.01, 48.002)],
    }
    rows = [{"level": "district", "name": "North", "spellings": ["North"], "districts": [], "photos": 3}]
    rows += [
        {"level": "street", "name": name, "spellings": [name, name.replace("Street", "St")], "photos": 1}
        | {"districts": ["North"]}
        for name in lines
    ]
    shapes = [
        shapely.box(9, 47.99, 9.01, 48.01),
        *(shapely.MultiLineString([line]) for line in lines.values()),
    ]
    return gpd.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")


@pytest.fixture(scope="session")
def run(tiny: Backbone, gazetteer: gpd.GeoDataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as full tuning leaves it."""
    folder = tmp_path_factory.mktemp("run")
    with open_step(folder, "run", {}) as step:
        save_backbone(tiny, folder / "model")
        gazetteer.to_parquet(folder / "gazetteer.parquet")
        step.finish({"city": "Smallville", "levels": ["district", "street"], "attribution": "© Smallville"})
    return folder


@pytest.fixture(scope="session")
def taught(tiny: Backbone, photos: list[Path]) -> Backbone:
    """The tiny model after some lessons: it answers with streets, of each photo in other proportions."""
    model = copy.deepcopy(tiny.model)
    pupil = Backbone(model, tiny.tokenizer, tiny.preprocessing, tiny.name)
    questions = plain_questions(("district", "street"))
    lessons = [
        (sight((photo,), [questions[level]], pupil, 64), answer)
        for number, photo in enumerate(photos)
        for level, answers in (("street", STREETS), ("both", JOINT_ANSWERS))
        for place, answer in enumerate(answers)
        for _ in range(1 + (number + place) % 3)
    ]
    teacher = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(6):
        for seen, text in lessons:
            answer = [*encode_text(pupil.tokenizer, text), pupil.end_id]
            ids = torch.tensor([[*seen.prompts[0], *answer]])
            labels = torch.full_like(ids, -100)
            labels[0, -len(answer) :] = torch.tensor(answer)
            model(input_ids=ids, pixel_values=normalised(seen.pixels, pupil), labels=labels).loss.backward()
            teacher.step()
            teacher.zero_grad()
    return pupil
