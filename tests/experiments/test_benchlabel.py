from pathlib import Path

import pytest

from addressvlm.experiments.benchlabel import LabelBench, bench_label_table, bench_labels


@pytest.mark.slow
def test_killed_or_not_every_sample_gets_exactly_one_label(tmp_path: Path) -> None:
    bench = LabelBench(
        24, concurrency=6, workers=1, kills=1, service_s=0.05, timeout_s=0.3, steady=24, turns=1
    )
    result = bench_labels(tmp_path, bench)
    for job in (result["calm"], result["killed"]):
        assert job["labels"] == 24
        assert job["duplicates"] == 0
        assert job["set_aside"] == 0
        assert job["calls_accounted_for"]
        # What is lost in flight may have been killed before it was sent, never the other way round.
        assert job["calls_at_the_server"] <= job["calls"]
    assert result["calm"]["lost_in_flight"] == 0
    assert result["killed"]["kills"] == 1
    assert result["killed"]["lost_in_flight"] <= 6
    assert result["same_bytes"]
    lanes = result["lanes"]
    assert lanes["overhead"] == pytest.approx(lanes["job_s"][0] / lanes["asking_s"][0] - 1, abs=0.01)
    assert lanes["asking_s"][0] >= 0.9 * lanes["ideal_s"][0] > 0
    assert "| labels | 24 | 24 |" in bench_label_table(result)
