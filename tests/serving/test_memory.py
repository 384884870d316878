from __future__ import annotations

import ctypes
from pathlib import Path

import psutil
import pytest
import tensorflow as tf

from serving import memory
from serving.model_config import ModelConfig
from serving.versions import ModelVersions

MEGABYTES = 64


def resident() -> float:
    return psutil.Process().memory_info().rss / 2**20


class Heavy(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = tf.Variable(tf.ones((MEGABYTES << 18,)))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="row")])
    def serve(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"value": tf.gather(self.table, row)}


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("heavy")
    module = Heavy()
    tf.saved_model.save(module, str(root / "1"), signatures={"serving_default": module.serve})
    return root


def test_what_was_freed_goes_back() -> None:
    """Small blocks between which one stays: the C library keeps them for later, until it is told."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(2**16) for _ in range(MEGABYTES * 16)]
    for block in blocks:
        ctypes.memset(block, 1, 2**16)
    *freed, last = blocks
    for block in freed:
        libc.free(block)
    before = resident()
    memory.give_back()
    after = resident()
    libc.free(last)
    assert before - after > MEGABYTES / 2


def test_versions_that_were_replaced_take_no_memory(heavy: Path) -> None:
    versions = ModelVersions(ModelConfig("heavy", heavy), poll_seconds=0)
    versions.poll()
    seen = []
    for number in range(2, 9):
        (heavy / str(number)).symlink_to(heavy / "1")
        versions.poll()
        seen.append(resident())
    assert [status.version for status in versions.statuses() if status.state == 30] == [8]
    # TensorFlow's allocator keeps room for two or three versions, and uses it again
    assert seen[-1] - seen[2] < MEGABYTES / 2
    versions.stop()
