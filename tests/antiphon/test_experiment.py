import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antiphon.cli import main
from feature_store.request_context import RequestContext
from feature_store.served_log import ServedRow
from feature_store.tfrecord import write_records

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(tmp_path):
    """A config, a log in which users 0 to `a + b - 1` were exposed, and an event of every third of arm a, half of b."""

    def make(a: int, b: int) -> list[str]:
        (tmp_path / "run.yaml").write_text(
            f"name: r\nruns: {tmp_path}\n"
            "experiments: {e: {arms: {a: {share: 0.5}, b: {share: 0.5, label: canary}}, days: 1}}\n"
        )
        records, events = [], []
        for number in range(a + b):
            arm = "a" if number < a else "b"
            said = RequestContext((f"u{number}",), exposures=({"e": arm},)).to_header().encode()
            time = int(START.timestamp() * 1e6)
            row = ServedRow(f"s-{number:06d}", time, 0.1, "Predict", "GRPC", "m", 1, "", said, b"", b"")
            records.append(row.to_record())
            if number % (3 if arm == "a" else 2) == 0:
                when = START + timedelta(hours=1)
                events.append({"user_id": f"u{number}", "item_id": "i", "event_time": when, "value": 2.0})
        (tmp_path / "log").mkdir()
        write_records(tmp_path / "log" / "s-0.tfrecord", records)
        (tmp_path / "r" / "tables").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(events), tmp_path / "r" / "tables" / "events.parquet")
        return ["experiment", "report", "-c", str(tmp_path / "run.yaml"), "--log", str(tmp_path / "log")]

    return make


def test_the_report_says_what_an_arm_changed(run, tmp_path, capsys):
    assert main([*run(300, 300), "--name", "e", "--out", str(tmp_path / "e.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found == json.loads((tmp_path / "e.json").read_text())
    assert (found["users"], found["crossed_users"], found["sample_ratio_p"]) == ({"a": 300, "b": 300}, 0, 1.0)
    assert found["metrics"]["a"]["conversion"] == pytest.approx(1 / 3)
    assert found["metrics"]["b"] == {
        "conversion": 0.5, "events_per_user": 0.5, "value_per_user": 1.0, "hits_per_request": 0.0
    }  # fmt: skip
    change = found["uplift"]["b"]["conversion"]
    error = (1 / 3 * 2 / 3 / 299 + 1 / 4 / 299) ** 0.5  # variances of the two means
    assert change["difference"] == pytest.approx(1 / 6)
    assert change["low"] == pytest.approx(1 / 6 - 1.959964 * error)
    assert change["p_value"] < 0.001
    assert "b conversion: 0.5000, a 0.3333; +0.1667 [+0.0" in lines[2]


def test_a_split_that_is_not_as_configured_is_an_exit_code_of_its_own(run, capsys):
    assert main([*run(300, 200), "--name", "e"]) == 1
    assert "THE SPLIT IS NOT AS CONFIGURED" in capsys.readouterr().out


def test_an_unknown_experiment_is_bad_input(run, capsys):
    assert main([*run(2, 2), "--name", "f"]) == 2
    assert "--name must be one of e, received 'f'" in capsys.readouterr().err
