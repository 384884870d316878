"""The served log: each answered request with its features, version and answer, in TFRecord segments.

A segment `<row id of its first row>.tfrecord` is whole. One that is being written, or whose writer was killed, is
called `….tfrecord.open`; its writer holds a lock (flock) on it, and it is good up to its last whole record. A record is
a TF Serving `PredictionLog` with one further field (`prediction_log`).

A row's id is `<when its server started>-<random>-<number>`; as text, the ids of a server are in the order in which its
requests were answered. A number that is missing is a row that was dropped.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from feature_store.errors import DataError
from feature_store.folders import sync_folder
from feature_store.prediction_log import LOGS, PredictionLog, PredictRequest, PredictResponse, tensor_array
from feature_store.request_context import RequestContext
from feature_store.tfrecord import read_whole_records

FINISHED = ".tfrecord"
OPEN = ".tfrecord.open"


@dataclass(frozen=True)
class ServedRow:
    """One answered request.

    Attributes:
        row_id: unique; see above.
        time: when it came, microseconds since 1970 UTC.
        seconds: how long it took the server.
        api: "Predict", "Classify", "Regress" or "MultiInference".
        protocol: "GRPC" or "REST".
        model, version, signature: who answered.
        header: what the caller told beside it, as it came; `context` is what it says.
        request, response: TF Serving's messages of that API, serialized.
    """

    row_id: str
    time: int
    seconds: float
    api: str
    protocol: str
    model: str
    version: int
    signature: str
    header: bytes
    request: bytes
    response: bytes

    @cached_property
    def context(self) -> RequestContext:
        return RequestContext.from_header(self.header)

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """The model's inputs, of "Predict"; none of another API. Strings are str in object arrays.

        Raises:
            ValueError: a tensor of a type that is not read here.
        """
        return self._arrays(PredictRequest, self.request, "inputs")

    @cached_property
    def outputs(self) -> dict[str, np.ndarray]:
        """The answer, likewise."""
        return self._arrays(PredictResponse, self.response, "outputs")

    def _arrays(self, message: Any, data: bytes, field: str) -> dict[str, np.ndarray]:
        if self.api != "Predict":
            return {}
        tensors = getattr(message.FromString(data), field)
        return {name: tensor_array(name, tensor, fill=True) for name, tensor in tensors.items()}

    def to_record(self, sampling_rate: float = 1.0) -> bytes:
        """The row as a record of a segment."""
        log = PredictionLog()
        spec = log.log_metadata.model_spec
        spec.name, spec.version.value, spec.signature_name = self.model, self.version, self.signature
        log.log_metadata.sampling_config.sampling_rate = sampling_rate
        log.log_metadata.timestamp_secs = self.time // 1_000_000
        exchange = getattr(log, LOGS[self.api])
        exchange.request, exchange.response = self.request, self.response
        log.row.id, log.row.time, log.row.seconds = self.row_id, self.time, self.seconds
        log.row.protocol, log.row.context = self.protocol, self.header
        return log.SerializeToString()

    @classmethod
    def from_record(cls, record: bytes) -> ServedRow:
        """
        Raises:
            ValueError: the record is none of the served log.
        """
        try:
            log = PredictionLog.FromString(record)
        except DecodeError as error:
            raise ValueError(f"not a PredictionLog: {error}") from error
        api = next((api for api, field in LOGS.items() if log.HasField(field)), "")
        if not api or not log.row.id:
            raise ValueError("not a row of a served log")
        spec, exchange, row = log.log_metadata.model_spec, getattr(log, LOGS[api]), log.row
        who = (spec.name, spec.version.value, spec.signature_name)
        said = (row.context, exchange.request, exchange.response)
        return cls(row.id, row.time, row.seconds, api, row.protocol, *who, *said)


def segments(folder: Path) -> list[Path]:
    """The segments of a folder in the order of their rows, the open ones among them.

    Raises:
        DataError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("there is no such folder of a served log", file=folder)
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    finished = {name.removesuffix(FINISHED) for name in names if name.endswith(FINISHED)}
    unfinished = {name.removesuffix(OPEN) for name in names if name.endswith(OPEN)} - finished
    return [folder / (name + (FINISHED if name in finished else OPEN)) for name in sorted(finished | unfinished)]


def read(folder: Path) -> Iterator[ServedRow]:
    """The rows of a folder, segment by segment; of an open segment those that are whole.

    Raises:
        DataError: no such folder, a finished segment is damaged, or a record is none of a served log.
    """
    for path in segments(folder):
        yield from read_segment(path)


def read_segment(path: Path) -> Iterator[ServedRow]:
    """The rows of one segment.

    Raises:
        DataError: as `read`.
    """
    if path.name.endswith(OPEN) and not path.exists():  # finished since it was listed
        path = path.with_name(path.name.removesuffix(OPEN) + FINISHED)
    end = 0
    for record, end in read_whole_records(path):  # noqa: B007 - the last end is looked at below
        try:
            yield ServedRow.from_record(record)
        except ValueError as error:
            raise DataError(f"the record that ends at byte {end} is {error}", file=path) from error
    if path.name.endswith(FINISHED) and end != path.stat().st_size:
        raise DataError(f"the segment is damaged after byte {end}", file=path)


def lock(path: Path) -> int:
    """Takes the lock of a segment's writer, held until the descriptor it gives is closed.

    Raises:
        BlockingIOError: another holds it.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def finish(path: Path, descriptor: int) -> Path | None:
    """Cuts an open segment after its last whole record, flushes it to the disk and gives it its finished name.

    Args:
        descriptor: the segment's, with the lock on it.

    Returns:
        Its new path; None where it holds no whole record, and is removed.
    """
    end = 0
    for _, end in read_whole_records(path):  # noqa: B007
        pass
    if not end:
        path.unlink()
        return None
    os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    return publish(path)


def publish(path: Path) -> Path:
    """Gives an open segment, whole and flushed, its finished name."""
    finished = path.with_name(path.name.removesuffix(OPEN) + FINISHED)
    path.rename(finished)
    sync_folder(path.parent)
    return finished


def recover(folder: Path) -> list[Path]:
    """Finishes the open segments whose writers are gone; returns those that hold rows."""
    recovered = []
    for path in segments(folder):
        if not path.name.endswith(OPEN):
            continue
        try:
            descriptor = lock(path)
        except (BlockingIOError, FileNotFoundError):  # it is being written, or finished just now
            continue
        try:
            if path.exists() and (finished := finish(path, descriptor)):
                recovered.append(finished)
        finally:
            os.close(descriptor)
    return recovered
