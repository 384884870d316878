import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import skew
from beam_jobs.options import BeamConfig, SkewConfig
from feature_store import examples, folders
from feature_store.build import write_views
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.errors import DataError
from feature_store.hashing import uniform
from feature_store.prediction_log import DT_STRING, PredictRequest
from feature_store.request_context import RequestContext
from feature_store.schema import Field, Schema
from feature_store.served_log import ServedRow
from feature_store.table_folder import write_tables
from feature_store.tfrecord import write_records

USERS, EVENTS, LENGTH = 120, 6, 4
START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = Schema(user_attributes=(Field("country"), Field("age", "int64")), history_length=LENGTH)
NO_DRIFT = SkewConfig(ignore=("history", "event_count"))  # both grow with time


def user(number: int) -> dict:
    return {"user_id": f"u{number:03d}", "country": "no" if number % 2 else "fi", "age": 20 + number % 40}


def item(number: int, event: int) -> str:
    return f"i{(number + event) % 9}"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """Tables, features and examples of users with an event an hour."""
    folder = tmp_path_factory.mktemp("run")
    events = [
        {
            "user_id": user(number)["user_id"],
            "item_id": item(number, event),
            "event_time": START + timedelta(hours=event),
            "event_type": "view",
            "value": 1.0,
            "created_time": START + timedelta(hours=event),
        }
        for number in range(USERS)
        for event in range(EVENTS)
    ]
    rows = {
        "users": [user(number) for number in range(USERS)],
        "items": [{"item_id": f"i{number}", "title": "", "categories": []} for number in range(9)],
        "events": events,
    }
    tables = {name: [pa.Table.from_pylist(part, SCHEMA.table(name).arrow())] for name, part in rows.items()}
    write_tables(folder / "tables", SCHEMA, tables, [], {}, {})
    with folders.new_folder(folder / "features") as features:
        folders.write_manifest(features, write_views(folder / "tables", None, features, LENGTH))
    config = FeatureConfig(history_length=LENGTH)
    examples.write(folder / "tables", folder / "features", folder / "examples", ExampleConfig(), config)
    return folder


def served(row: int, number: int, known: int, **wrong: object) -> ServedRow:
    """A request half an hour after the user's event `known - 1`, with what was true then but for what is `wrong`."""
    history = wrong.get("history", [item(number, event) for event in range(known)][-LENGTH:])
    said = {"country": user(number)["country"], "age": user(number)["age"], "event_count": known} | wrong
    request = PredictRequest()
    tensor = request.inputs["history"]
    tensor.dtype = DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.tensor_shape.dim.add(size=len(history) + 1)
    tensor.string_val.extend([b"", *(part.encode() for part in history)])  # as the client pads
    features = {name: [said[name]] for name in ("country", "age", "event_count")}
    header = RequestContext((user(number)["user_id"],), features).to_header().encode()
    time = int((START + timedelta(hours=known - 0.5)).timestamp() * 1e6)
    row_id, asked = f"s-{row:012d}", request.SerializeToString()
    return ServedRow(row_id, time, 0.1, "Predict", "GRPC", "m", 1, "", header, asked, b"")


@pytest.fixture
def report(run_folder, tmp_path):
    """Writes rows as a log of two segments, one open, and reports on it: what `run` returns, and the report's JSON."""

    def make(rows, config=NO_DRIFT):
        (tmp_path / "log").mkdir()
        records = [row.to_record() for row in rows]
        half = len(records) // 2
        write_records(tmp_path / "log" / "s-0.tfrecord", records[:half])
        write_records(tmp_path / "log" / "s-1.tfrecord.open", records[half:])
        out = tmp_path / "skew"
        folder = run_folder
        found = skew.run(
            tmp_path / "log", folder / "features", folder / "examples", out, config, BeamConfig(shards=2)
        )
        assert folders.read_manifest(out)["verdict"] == found["verdict"]
        return found, json.loads((out / "report.json").read_text())

    return make


def test_what_was_right_when_it_was_served_passes(report, tmp_path):
    found, said = report([served(n, n, 3 + n % 4) for n in range(USERS)])
    assert found.pop("seconds") > 0
    assert found == {
        "verdict": {"passes": True, "reasons": []},
        "rows": USERS,
        "mismatched": {"country": 0, "age": 0, "history": 0, "event_count": 0},
    }
    assert said["features"]["country"]["drift"]["value"]["psi"] == pytest.approx(0)
    assert said["features"]["history"]["served"] == USERS
    assert pq.read_metadata(tmp_path / "skew" / "mismatches.parquet").num_rows == 0


def test_one_feature_off_is_found_and_shown(report, tmp_path):
    rows = [served(n, n, 6, **({"age": 7} if n < 12 else {})) for n in range(USERS)]
    found, said = report(rows, SkewConfig(ignore=NO_DRIFT.ignore, examples=2))
    assert found["mismatched"] == {"country": 0, "age": 12, "history": 0, "event_count": 0}
    assert found["verdict"]["passes"] is False
    assert found["verdict"]["reasons"][0] == "age: 10.00% of 120 rows are not what is computed offline"
    shown = said["features"]["age"]["examples"]
    assert len(shown) == 2
    for row in shown:
        number = int(row["user_id"][1:])
        assert (row["served.age"], row["expected.age"]) == (7, user(number)["age"])
        assert row["label_time"] == "2024-01-01T05:30:00+00:00"
    wrong = pq.read_table(tmp_path / "skew" / "mismatches.parquet")
    assert sorted(wrong["row_id"].to_pylist()) == [f"s-{n:012d}" for n in range(12)]


def test_a_feature_of_the_future_is_a_mismatch(report):
    rows = [served(n, n, 4, history=[item(n, event) for event in range(5)][-LENGTH:]) for n in range(USERS)]
    found, _ = report(rows)
    assert found["mismatched"]["history"] == USERS


def test_other_users_than_those_of_training_are_a_drift_without_a_skew(report):
    found, said = report([served(n, 2 * (n % (USERS // 2)), 6) for n in range(USERS)])
    assert not any(found["mismatched"].values())
    assert found["verdict"]["passes"] is False
    assert all(reason.startswith("country (value) has drifted: psi ") for reason in found["verdict"]["reasons"])
    # All are from one of two countries of equal size: p = (1/2, 1/2), q = (1, 0)
    assert said["features"]["country"]["drift"]["value"]["divergence"] == pytest.approx(0.311278, abs=1e-6)


def test_the_sample_is_of_users(report):
    found, _ = report(
        [served(n, n % USERS, 5) for n in range(2 * USERS)], SkewConfig(sample=0.5, min_rows=1, ignore=NO_DRIFT.ignore)
    )
    assert found["rows"] == 2 * sum(uniform("skew", user(number)["user_id"]) < 0.5 for number in range(USERS))


def test_too_few_rows_do_not_pass(report):
    anonymous = ServedRow("s-9", 0, 0.1, "Predict", "GRPC", "m", 1, "", b"", b"", b"")
    found, _ = report([served(1, 1, 6), anonymous])
    assert found["verdict"] == {"passes": False, "reasons": ["1 rows with users, of at least 100"]}


def test_a_log_without_users_does_not_pass(report):
    found, _ = report([ServedRow("s-9", 0, 0.1, "Predict", "GRPC", "m", 1, "", b"", b"", b"")])
    assert found["verdict"] == {"passes": False, "reasons": ["0 rows with users, of at least 100"]}


def test_a_missing_log_is_refused(run_folder, tmp_path):
    folder = run_folder
    with pytest.raises(DataError, match="there is no such folder of a served log"):
        skew.run(tmp_path / "no", folder / "features", folder / "examples", tmp_path / "out", NO_DRIFT, BeamConfig())
