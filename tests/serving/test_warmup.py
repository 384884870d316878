from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorflow_serving.apis import prediction_log_pb2

from serving import warmup
from serving.predict import SavedModel
from serving.status import StatusError


@pytest.fixture
def model(publish) -> Iterator[SavedModel]:
    model = SavedModel(publish(1))
    yield model
    model.close()


def test_replays_every_request(model: SavedModel) -> None:
    assert warmup.replay(model) == 2


def test_a_model_needs_no_warmup_file(model: SavedModel) -> None:
    (model.folder / warmup.WARMUP_FILE).unlink()
    assert warmup.replay(model) == 0


def test_names_the_request_that_failed(model: SavedModel, predict_log, write_warmup) -> None:
    write_warmup(model.folder, [predict_log(["a"]), predict_log(["a"], "other")])
    with pytest.raises(
        StatusError, match='warmup request failed .record 2 of .*: Serving signature key "other" not found'
    ):
        warmup.replay(model)


def test_refuses_a_truncated_file(model: SavedModel) -> None:
    path: Path = model.folder / warmup.WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StatusError, match="DATA_LOSS.*Please verify your warmup data is in TFRecord format."):
        warmup.replay(model)


def test_refuses_records_that_are_no_prediction_logs(model: SavedModel, write_warmup) -> None:
    write_warmup(model.folder, [b"\xff\xff\xff"])
    with pytest.raises(StatusError, match="Failed to parse warmup record: record 1"):
        warmup.replay(model)


def test_refuses_logs_of_other_methods(model: SavedModel, write_warmup) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.request.model_spec.name = "catalogue"
    write_warmup(model.folder, [log.SerializeToString()])
    with pytest.raises(StatusError, match="UNIMPLEMENTED: .*Unsupported log_type for warmup: session_run_log"):
        warmup.replay(model)


def test_refuses_too_many_records(model: SavedModel, predict_log, write_warmup) -> None:
    write_warmup(model.folder, [predict_log(["a"])] * 1001)
    with pytest.raises(StatusError, match=r"Number of warmup records exceeds the maximum \(1000\)"):
        warmup.replay(model)
