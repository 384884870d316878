"""Retrieval on a loaded version: its index loaded with it, checked against its graph, and asked over gRPC.

TensorFlow Serving has no such call; here it is a service of its own, `antiphon.serving.RetrievalService`, beside
PredictionService, which stays as it is. `Retrieve` takes a PredictRequest with the inputs `embedding` float32 (B, d),
as the signature ``embed_user`` gives it, `k` int64 () and, if wanted, `seen` string (B, ·), padded with "". Its outputs
are `items` string (B, k) and `scores` float32 (B, k), as ``serving_default`` has them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from feature_store.errors import DataError
from serving import index, tensors
from serving.index import ItemIndex
from serving.predict import SavedModel
from serving.status import StatusError, invalid_argument

VERSION_MANIFEST = "assets.extra/manifest.json"
MAX_USERS = 1024  # of one request: a search is not stopped when the client's time is over
MAX_ANSWERS = 1 << 20  # items of one answer, what is seen included
_CHECKED = 10  # items whose scores are compared


def load(folder: Path) -> ItemIndex | None:
    """The index of the version in `folder`; None where it was exported without.

    Raises:
        StatusError: DATA_LOSS where the version's manifest names an index that is not there, or it cannot be read.
    """
    found = folder / index.FOLDER
    try:
        if not found.exists() and not _named(folder / VERSION_MANIFEST):
            return None
        return index.read(found)
    except (DataError, OSError) as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, f"retrieval index: {error}") from error


def _named(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", file=manifest) from error
    return isinstance(content, dict) and content.get("index") is not None


def check(model: SavedModel, found: ItemIndex) -> None:
    """Compares an index's inner products with the scores that the model itself gives the items found.

    Raises:
        StatusError: FAILED_PRECONDITION where they differ: the index is of another version; and as `SavedModel.predict`
            where the model has no signatures `embed_user` and `score`.
    """
    history = np.array([[found.ids[0].encode(), found.ids[-1].encode()]], object)
    user = model.predict("embed_user", {"history": history}, ["embedding"])["embedding"]
    where = model.folder / index.FOLDER
    if user.shape[1] != found.width:
        rule = f"its vectors have width {found.width}, the model's users {user.shape[1]}"
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f"{where}: not the index of this version: {rule}")
    items, scores = found.search(user, min(_CHECKED, len(found.ids)))
    items, scores = items[items != ""], scores[items != ""]
    candidates = np.array([[item.encode() for item in items]], object)
    own = model.predict("score", {"history": history, "candidates": candidates}, ["scores"])["scores"][0]
    if not np.allclose(own, scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max()):
        rule = f"the model scores {items[0]} {own[0]:g}, the index {scores[0]:g}"
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f"{where}: not the index of this version: {rule}")


def retrieve(model: SavedModel, version: int, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Answers one request, see above, on a version that is held.

    Raises:
        StatusError: FAILED_PRECONDITION where the version has no index, INVALID_ARGUMENT for inputs that do not fit.
    """
    name = request.model_spec.name
    if model.index is None:
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f"{name} version {version} has no retrieval index")
    users, k, seen = _inputs(model, request)
    if len(users) > MAX_USERS:
        raise invalid_argument(f"a request takes at most {MAX_USERS} users, got {len(users)}")
    hidden = max(map(len, seen), default=0) if seen is not None else 0
    if len(users) * (k + hidden) > MAX_ANSWERS:
        raise invalid_argument(f"{len(users)} users with k {k} and {hidden} items seen are more than {MAX_ANSWERS}")
    try:
        items, scores = model.index.search(users, k, seen)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    response = predict_pb2.PredictResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version
    encoded = np.array([item.encode() for item in items.ravel()], object).reshape(items.shape)
    tensors.to_proto(encoded, types_pb2.DT_STRING, response.outputs["items"])
    tensors.to_proto(scores, types_pb2.DT_FLOAT, response.outputs["scores"])
    return response


def _inputs(
    model: SavedModel, request: predict_pb2.PredictRequest
) -> tuple[np.ndarray, int, list[list[str]] | None]:
    given = set(request.inputs)
    if not {"embedding", "k"} <= given <= {"embedding", "k", "seen"}:
        raise invalid_argument(f"Retrieve takes embedding, k and, if wanted, seen, got {sorted(given)}")
    arrays = {alias: model.parsed(alias, proto) for alias, proto in request.inputs.items()}
    users, k, seen = arrays["embedding"], arrays["k"], arrays.get("seen")
    _require(users.ndim == 2 and users.dtype == np.float32, "embedding", "float32 (B, d)", users)
    _require(bool(np.isfinite(users).all()), "embedding", "finite", users)
    _require(k.shape == () and k.dtype == np.int64, "k", "int64 ()", k)
    if seen is None:
        return users, int(k), None
    _require(seen.ndim == 2 and len(seen) == len(users) and seen.dtype.hasobject, "seen", "string (B, ·)", seen)
    try:
        return users, int(k), [[item.decode() for item in row if item] for row in seen]
    except UnicodeDecodeError as error:
        raise invalid_argument("seen must be UTF-8") from error


def _require(ok: bool, name: str, rule: str, array: Any) -> None:
    if not ok:
        raise invalid_argument(f"{name} must be {rule}, got {array.dtype} {tensors.shape_name(array.shape)}")
