"""The tables of a data set: written in bounded memory, read without geopandas (training has none).

Equal rows give equal bytes: the schema is explicit, rows come in a fixed order, and nothing of pandas is
stored.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from addressvlm.dataset.options import DatasetOptions
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import CONFIG, read_json, require_complete, write_atomically

if TYPE_CHECKING:
    import pandas as pd

_TEXTS = pa.list_(pa.string())
_PHOTO = [("photo", pa.string()), ("location", pa.string()), ("images", _TEXTS)]
_ADDRESS = [("district", pa.string()), ("street", pa.string())]
_ASKED = [("kind", pa.string()), ("level", pa.string()), ("question", pa.string()), ("options", _TEXTS)]
_NEXT_STREET = [("runner_up", pa.string()), ("margin_m", pa.float64())]
_QUESTIONS = pa.schema([*_PHOTO, *_ADDRESS, *_NEXT_STREET, *_ASKED, ("truth", pa.string())])
SCHEMAS: Mapping[str, pa.Schema] = {
    "alignment": pa.schema(
        [*_PHOTO, ("question", pa.string()), ("answer", pa.string()), *_ADDRESS, ("map_names", _TEXTS)]
    ),
    "train": pa.schema(
        [*_PHOTO, *_ADDRESS, ("turns", pa.list_(pa.struct([*_ASKED, ("answer", pa.string())])))]
    ),
    "val": _QUESTIONS,
    "test": _QUESTIONS,
    "locations": pa.schema(
        [("location", pa.string()), ("split", pa.string()), ("lat", pa.float64()), ("lon", pa.float64())]
    ),
}
# Beside the config of a data set made by `label`: that of the data set that was labelled.
SOURCE = "source.json"
# The table that holds the conversations of a training stage.
_STAGES = {"alignment": "alignment", "localization": "train"}
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Conversation:
    """What a model is trained on: pictures, then questions and answers in turn.

    `images` are absolute paths; `turns` are (question, answer) pairs.
    """

    photo: str
    location: str
    images: tuple[Path, ...]
    turns: tuple[tuple[str, str], ...]


def table_path(dataset: Path, name: str) -> Path:
    """The file of a table: alignment, train, val, test or locations."""
    return dataset / f"{name}.parquet"


def write_table(dataset: Path, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows, in their order, as the table `name`, atomically."""
    schema = SCHEMAS[name]
    rows = iter(rows)
    with (
        write_atomically(table_path(dataset, name)) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def read_conversations(dataset: Path, stage: str) -> list[Conversation]:
    """The training conversations of a stage, "alignment" or "localization", sorted by photo."""
    table = _table_of(stage)
    columns = ["photo", "location", "images"]
    columns += ["question", "answer"] if stage == "alignment" else ["turns"]
    folder = dataset.absolute()
    return [
        Conversation(
            row["photo"],
            row["location"],
            tuple(folder / image for image in row["images"]),
            tuple(_turns(row)),
        )
        for row in rows_of(read_table(dataset, table, columns))
    ]


def read_images(dataset: Path, stage: str) -> list[str]:
    """The pictures of a stage's conversations, each once: sorted paths under the folder of the data set."""
    images = read_table(dataset, _table_of(stage), ["images"])["images"].combine_chunks()
    return sorted(images.flatten().unique().to_pylist())


def read_questions(dataset: Path, split: str) -> "pd.DataFrame":
    """The questions of "val" or "test": one row a question, those of one photo together, sorted by photo.

    The columns are those of the file; `images` are paths under the folder of the data set.
    """
    if split not in ("val", "test"):
        raise UsageError(f"there are no questions of a split {split!r}; there are val and test")
    table = read_table(dataset, split)
    questions: pd.DataFrame = table.to_pandas()
    for name in ("images", "options"):  # as lists; pandas would have made arrays of them
        questions[name] = table[name].to_pylist()
    return questions


def read_table(dataset: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """A table of a complete data set; all columns unless some are named."""
    require_complete(dataset)
    path = table_path(dataset, name)
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise AddressVLMError(f"{path} cannot be read: {error}; build the data set again") from error


def read_config(dataset: Path) -> dict[str, Any]:
    """How a data set was made; an option that came later than it has its default, which changes nothing.

    Of one made by `label` it is how the data set that was labelled was made: the label job has a seed of its
    own, which decides no split.
    """
    config: dict[str, Any] = read_json(dataset / CONFIG)
    if config.get("step") == "labels":
        if not (dataset / SOURCE).is_file():
            raise AddressVLMError(f"{dataset} has no {SOURCE}; run the `label` command that made it again")
        config = read_json(dataset / SOURCE)
    return {**asdict(DatasetOptions()), "describe": "unknown", **config}


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table one by one, in bounded memory."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _table_of(stage: str) -> str:
    if stage not in _STAGES:
        raise UsageError(f"there is no stage {stage!r}; there are {' and '.join(_STAGES)}")
    return _STAGES[stage]


def _turns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    turns = row.get("turns") or [row]
    return [(turn["question"], turn["answer"]) for turn in turns]
