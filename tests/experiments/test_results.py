from pathlib import Path

from addressvlm.evaluation.metrics import METRICS
from addressvlm.experiments.results import demo_table
from addressvlm.folders import write_json


def figures(value: float) -> dict[str, float]:
    return dict.fromkeys(METRICS, value)


def test_the_demo_s_table_has_a_row_for_what_was_measured_only(tmp_path: Path) -> None:
    result = {
        "made": {"date": "2026-01-02", "commit": "abc", "machine": "a machine", "command": "addressvlm demo"},
        **{
            "photos": 4,
            "locations": 2,
            "city": "mini-pitts",
            "seed": 0,
            "seconds": {"city": 1.2, "align": 2.0},
        },
        "metrics": figures(50.0),
        "chance": figures(25.0),
    }
    write_json(tmp_path / "demo.json", result)
    table = demo_table(tmp_path / "demo.json")
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")] == [
        "",
        "mini model, both stages",
        "chance",
    ]
    assert "Small CNN" not in table
    write_json(tmp_path / "demo.json", result | {"constrained": {"joint": figures(75.0)}})
    joint = "| the same, all answers of a photo from one belief | 75.0 |"
    assert joint in demo_table(tmp_path / "demo.json")
