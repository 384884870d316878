"""Writes a served log (`feature_store.served_log`): requests leave their rows in a queue, one thread writes them.

A request never waits for the disk: where the queue is full, or nothing can be written, its row is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tensorflow as tf

from feature_store import served_log
from feature_store.folders import sync_folder
from serving.metrics import Metrics

log = logging.getLogger(__name__)

Build = Callable[[str], bytes]
"""Makes a row's record, given its id."""

_WRITE_SECONDS = 0.05  # how long a row waits for others before it is written
_ROW_BYTES = 1024  # of a queued row beside its own bytes
_TURN = 16  # rows after which requests get a turn with Python's lock


@dataclass(frozen=True)
class Limits:
    """How much waits for the disk, and when a segment ends; `ServeConfig` has the defaults."""

    queue_bytes: int
    segment_bytes: int
    segment_seconds: float
    sync_seconds: float


class ServedLog:
    """A server's log in one folder.

    What is in it is safe from the process being killed once it is counted as `written` (at most `_WRITE_SECONDS` and
    a write later), and from the machine's loss `sync_seconds` after that.

    Raises:
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limits: Limits, metrics: Metrics):
        folder.mkdir(parents=True, exist_ok=True)
        for path in served_log.recover(folder):
            log.info("%s: finished, its writer is gone", path)
        sync_folder(folder)
        self.folder = folder
        self._limits = limits
        self._rows = metrics.served_log_rows
        self._server = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        self._queue: deque[tuple[str, int, Build]] = deque()
        self._queued_bytes = 0
        self._number = 0
        self._closed = False
        self._wake = threading.Event()
        self._segment: _Segment | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._write_on, name=f"served log {folder}", daemon=True)
        self._thread.start()

    def offer(self, size: int, build: Build) -> None:
        """Takes a row of about `size` bytes, or drops it; never waits for the disk."""
        size += _ROW_BYTES
        with self._lock:
            row_id = f"{self._server}-{self._number:012d}"
            self._number += 1
            accepted = not self._closed and self._queued_bytes + size <= self._limits.queue_bytes
            if accepted:
                self._queue.append((row_id, size, build))
                self._queued_bytes += size
        if not accepted:
            self._rows.add(("dropped",))
        elif self._queued_bytes * 2 > self._limits.queue_bytes:
            self._wake.set()

    def close(self) -> None:
        """Writes what is queued and finishes the segment; later rows are dropped."""
        with self._lock:
            self._closed = True
        self._wake.set()
        self._thread.join()

    def _write_on(self) -> None:
        closed = False
        while not closed:
            self._wake.wait(_WRITE_SECONDS)
            self._wake.clear()
            closed = self._closed  # read before the rows are taken: none comes after it
            self._write_rows(len(self._queue))
            self._tried(self._settle, closed)

    def _write_rows(self, count: int) -> None:
        """The `count` oldest rows of the queue; those that come meanwhile wait until these are flushed."""
        for number in range(count):
            row_id, size, build = self._queue.popleft()
            try:
                record = build(row_id)
            except Exception:
                log.exception("row %s could not be made", row_id)
                self._rows.add(("failed",))
            else:
                if not self._tried(self._write, row_id, record):
                    self._rows.add(("failed",))
            with self._lock:
                self._queued_bytes -= size
            if number % _TURN == 0:
                time.sleep(0)

    def _write(self, row_id: str, record: bytes) -> None:
        if self._segment is not None and self._segment.size >= self._limits.segment_bytes:
            self._finish()
        if self._segment is None:
            self._segment = _Segment(self.folder, row_id, self._rows.add)
        self._segment.write(record)

    def _settle(self, closed: bool) -> None:
        """What is to be done once rows are written: flush, and end the segment where it is time."""
        if self._segment is None:
            return
        self._segment.flush()
        self._segment.sync(self._limits.sync_seconds)
        if self._failing:
            self._failing = False
            log.warning("%s: rows are written again", self.folder)
        if closed or self._segment.seconds >= self._limits.segment_seconds:
            self._finish()

    def _tried(self, action: Callable[..., None], *arguments: object) -> bool:
        """Whether it went well. Where the disk failed, the segment is left, and the next row begins another."""
        try:
            action(*arguments)
        except (OSError, tf.errors.OpError) as error:
            if not self._failing:
                self._failing = True
                log.error("%s: rows are lost until it can be written again: %s", self.folder, error)
            if self._segment is not None:
                self._segment.abandon()
                self._segment = None
            return False
        return True

    def _finish(self) -> None:
        assert self._segment is not None
        self._segment.finish()
        self._segment = None


class _Segment:
    """An open segment. `count` is told how many rows were written, or failed, as soon as that is certain."""

    def __init__(self, folder: Path, row_id: str, count: Callable[[tuple[str], int], None]):
        self.size = 0
        self._count = count
        self._unflushed = 0
        self._synced = self._begun = time.monotonic()
        self._dirty = False
        self._path = folder / (row_id + served_log.OPEN)
        hidden = folder / f".{self._path.name}"
        hidden.touch(exist_ok=False)
        self._descriptor = served_log.lock(hidden)
        try:
            hidden.rename(self._path)  # seen by others only with its lock
            self._writer = tf.io.TFRecordWriter(str(self._path))
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def seconds(self) -> float:
        """How long it has been open."""
        return time.monotonic() - self._begun

    def write(self, record: bytes) -> None:
        self._writer.write(record)
        self.size += len(record) + 16
        self._unflushed += 1

    def flush(self) -> None:
        """Hands what is new to the operating system."""
        if not self._unflushed:
            return
        self._writer.flush()
        self._count(("written",), self._unflushed)
        self._unflushed = 0
        self._dirty = True

    def sync(self, seconds: float) -> None:
        """Flushes to the disk, where something is new and the last time is `seconds` ago."""
        if self._dirty and time.monotonic() - self._synced >= seconds:
            os.fsync(self._descriptor)
            self._synced, self._dirty = time.monotonic(), False

    def finish(self) -> None:
        self.flush()
        self._writer.close()
        os.fsync(self._descriptor)
        served_log.publish(self._path)
        os.close(self._descriptor)

    def abandon(self) -> None:
        """After an error: keeps the rows that are whole, where the disk allows."""
        self._count(("failed",), self._unflushed)
        with suppress(OSError, tf.errors.OpError):
            self._writer.close()
        try:
            served_log.finish(self._path, self._descriptor)
        except OSError as error:
            log.error("%s stays open: %s", self._path, error)
        os.close(self._descriptor)
