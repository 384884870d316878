import os

import pytest

from feature_store import served_log
from feature_store.errors import DataError
from feature_store.prediction_log import PredictRequest, PredictResponse
from feature_store.served_log import OPEN, ServedRow
from feature_store.tfrecord import write_records


def row(number: int) -> ServedRow:
    request, response = PredictRequest(), PredictResponse()
    history = request.inputs["history"]
    history.dtype = 7
    history.tensor_shape.dim.add(size=1)
    history.tensor_shape.dim.add(size=2)
    history.string_val.extend([b"a", f"item {number}".encode()])
    scores = response.outputs["scores"]
    scores.dtype = 1
    scores.tensor_shape.dim.add(size=3)
    scores.float_val.append(0.5)  # one value for all three, as TensorFlow may write it
    header = f'{{"user_ids":["u{number}"]}}'.encode()
    messages = request.SerializeToString(), response.SerializeToString()
    return ServedRow(
        f"s-{number:012d}", 1_700_000_000_000_000 + number, 0.25, "Predict", "GRPC", "m", 7, "score", header, *messages
    )


def write(folder, first: int, last: int, end: str = ".tfrecord"):
    path = folder / f"s-{first:012d}{end}"
    write_records(path, [row(number).to_record(0.5) for number in range(first, last)])
    return path


def test_a_row_comes_back_as_it_was_written():
    back = ServedRow.from_record(row(3).to_record())
    assert back == row(3)
    assert back.inputs["history"].tolist() == [["a", "item 3"]]
    assert back.outputs["scores"].tolist() == [0.5, 0.5, 0.5]
    assert back.context.user_ids == ("u3",)


def test_tf_serving_reads_a_record_as_its_own():
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog.FromString(row(3).to_record(0.5))
    assert log.WhichOneof("log_type") == "predict_log"
    assert log.predict_log.request.inputs["history"].string_val[1] == b"item 3"
    assert log.predict_log.response.outputs["scores"].float_val == [0.5]
    assert (log.log_metadata.model_spec.name, log.log_metadata.model_spec.version.value) == ("m", 7)
    assert log.log_metadata.sampling_config.sampling_rate == 0.5
    assert log.log_metadata.timestamp_secs == 1_700_000_000


def test_rows_come_in_the_order_of_their_ids_whatever_the_segments_state(tmp_path):
    write(tmp_path, 4, 6, OPEN)
    write(tmp_path, 0, 2)
    write(tmp_path, 2, 4)
    (tmp_path / ".s-000000000009.tfrecord.open").touch()  # not yet seen
    assert [found.row_id for found in served_log.read(tmp_path)] == [row(n).row_id for n in range(6)]


def test_an_open_segment_is_read_up_to_its_last_whole_record_wherever_it_ends(tmp_path):
    data = write(tmp_path, 0, 3, OPEN).read_bytes()
    ends = [end for _, end in served_log.read_whole_records(tmp_path / f"{row(0).row_id}{OPEN}")]
    assert ends[-1] == len(data)
    path = tmp_path / f"{row(0).row_id}{OPEN}"
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert [found.row_id for found in served_log.read_segment(path)] == [row(n).row_id for n in range(whole)]


def test_a_record_with_a_flipped_bit_is_not_taken_for_whole(tmp_path):
    path = write(tmp_path, 0, 3, OPEN)
    data = path.read_bytes()
    (first, *_) = [end for _, end in served_log.read_whole_records(path)]
    for at in range(first, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert len(list(served_log.read_segment(path))) < 3


def test_a_damaged_finished_segment_is_an_error(tmp_path):
    path = write(tmp_path, 0, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"s-0+.tfrecord: the segment is damaged after byte \d+"):
        list(served_log.read(tmp_path))


def test_another_file_s_records_are_an_error(tmp_path):
    write_records(tmp_path / "x.tfrecord", [b"\xff"])
    with pytest.raises(DataError, match="is not a PredictionLog"):
        list(served_log.read(tmp_path))
    with pytest.raises(DataError, match="there is no such folder of a served log"):
        list(served_log.read(tmp_path / "none"))


def test_what_a_killed_writer_left_is_cut_and_finished_but_not_what_is_being_written(tmp_path):
    torn, living, empty = (write(tmp_path, first, first + 2, OPEN) for first in (0, 2, 4))
    torn.write_bytes(torn.read_bytes()[:-1])
    empty.write_bytes(b"\0" * 40)
    held = served_log.lock(living)
    try:
        assert served_log.recover(tmp_path) == [tmp_path / "s-000000000000.tfrecord"]
    finally:
        os.close(held)
    assert [path.name for path in served_log.segments(tmp_path)] == ["s-000000000000.tfrecord", living.name]
    assert [found.row_id for found in served_log.read(tmp_path)] == [row(n).row_id for n in (0, 2, 3)]
