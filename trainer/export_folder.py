"""A version's folder: its number when it is complete, its manifest, and its warmup requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

EXTRA = "assets.extra"
WARMUP = f"{EXTRA}/tf_serving_warmup_requests"


@contextmanager
def new_version(out: Path, version: int, told: Mapping[str, Any]) -> Iterator[tuple[Path, int]]:
    """Gives the folder that a version under ``out`` is written into, and its number. When the block ends the manifest
    is written and the folder gets that number as its name.

    A server that watches ``out`` never loads a part.

    Args:
      version: its number, which ``out`` must not have; 0 is the next.
      told: what the manifest says beside model, version, its parent and when; read when the block has ended.
    """
    out.mkdir(parents=True, exist_ok=True)
    versions = sorted(int(p.name) for p in out.iterdir() if p.name.isdigit())
    version = version or (versions[-1] + 1 if versions else 1)
    scratch = out / f".writing-{version}"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / EXTRA).mkdir(parents=True)
    yield scratch, version
    manifest = {
        "model": out.name,
        "version": version,
        "parent_version": versions[-1] if versions else None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **told,
    }
    (scratch / EXTRA / "manifest.json").write_text(json.dumps(manifest, indent=1))
    scratch.rename(out / str(version))


def write_warmup(path: Path, model: str, signature: str, requests: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Requests of a signature, by input, that a server runs before it takes others."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = signature
            for name, values in inputs.items():
                dtype = tf.string if values.dtype.kind == "S" else None
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
