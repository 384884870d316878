"""A version with its index, in the server's process and over gRPC."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving import errors, retrieval
from serving.client import Client
from serving.index import FOLDER, LOWEST
from serving.model_config import ModelConfig
from serving.predict import SavedModel
from serving.runtime import Runtime
from serving.status import StatusError
from serving.versions import ModelVersions


@pytest.fixture
def versions(towers: Path, tmp_path: Path) -> Iterator[ModelVersions]:
    """Polled by hand; version 1 serves."""
    base_path = tmp_path / "towers"
    shutil.copytree(towers / "1", base_path / "1")
    versions = ModelVersions(ModelConfig("towers", base_path), poll_seconds=0)
    versions.poll()
    yield versions
    versions.stop()


def add(versions: ModelVersions, towers: Path) -> Path:
    return Path(shutil.copytree(towers / "2", versions.config.base_path / "2"))


def test_an_index_lives_as_long_as_its_version(versions: ModelVersions, towers: Path) -> None:
    with versions.acquire() as (version, first):
        assert (version, first.index is not None) == (1, True)
        add(versions, towers)
        versions.poll()
        assert first.index is not None
    with versions.acquire() as (version, second):
        assert (version, second.index is not None) == (2, True)
    versions.poll()
    assert first.index is None


def remove(folder: Path, towers: Path) -> None:
    shutil.rmtree(folder / FOLDER)


def truncate(folder: Path, towers: Path) -> None:
    path = folder / FOLDER / "items.faiss"
    path.write_bytes(path.read_bytes()[:-4])


def exchange(folder: Path, towers: Path) -> None:
    shutil.rmtree(folder / FOLDER)
    shutil.copytree(towers / "1" / FOLDER, folder / FOLDER)


def narrow(folder: Path, towers: Path) -> None:
    from serving import index_build
    from serving.config import IndexConfig

    vectors = np.ones((30, 3), np.float32)
    index_build.write(folder / FOLDER, [f"i{n}" for n in range(30)], vectors, vectors, IndexConfig())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (remove, "DATA_LOSS: retrieval index: .*2/assets.extra/index: the folder has no MANIFEST.json"),
        (truncate, "DATA_LOSS: retrieval index: .*items.faiss: MANIFEST.json says"),
        (exchange, "FAILED_PRECONDITION: .*2/assets.extra/index: not the index of this version: the model scores i"),
        (narrow, "FAILED_PRECONDITION: .*its vectors have width 3, the model's users 4"),
    ],
)
def test_a_version_whose_index_is_not_its_own_never_serves(
    versions: ModelVersions, towers: Path, damage, told: str
) -> None:
    folder = add(versions, towers)
    damage(folder, towers)
    versions.poll()
    broken = versions.statuses()[0]
    with pytest.raises(StatusError, match=told):
        raise broken.error
    with versions.acquire() as (version, _):
        assert version == 1


def test_a_version_exported_without_an_index_serves_without(versions: ModelVersions, towers: Path) -> None:
    folder = add(versions, towers)
    shutil.rmtree(folder / FOLDER)
    (folder / retrieval.VERSION_MANIFEST).write_text(json.dumps({"index": None}))
    versions.poll()
    with versions.acquire() as (version, model):
        assert (version, model.index) == (2, None)


def test_retrieval_may_be_left_out(towers: Path, tmp_path: Path) -> None:
    shutil.copytree(towers / "1", tmp_path / "1")
    versions = ModelVersions(ModelConfig("towers", tmp_path), 0, Runtime(retrieval=False))
    versions.poll()
    with versions.acquire() as (_, model):
        assert model.index is None
    versions.stop()


def test_an_index_needs_a_model_that_embeds_and_scores(exported: Path, towers: Path) -> None:
    model, other = SavedModel(exported / "1"), retrieval.load(towers / "1")
    with pytest.raises(StatusError, match="FAILED_PRECONDITION: .*width 4, the model's users 2"):
        retrieval.check(model, other)
    model.close()


@pytest.fixture(scope="module")
def client(start_towers) -> Iterator[Client]:
    with Client(start_towers.grpc, "towers", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def start_towers(towers: Path, start_once):
    return start_once("--model_name=towers", f"--model_base_path={towers}", "--file_system_poll_wait_seconds=0")


def test_a_client_retrieves_with_the_vector_the_model_gave(client: Client, tower_vectors) -> None:
    vectors = tower_vectors(2)
    answer = client.retrieve(client.embed_user([["i3"], ["i4", "i5"]]), 3, [["i3"], []])
    assert answer.version == 2
    for row, history, seen in ((0, [3], [3]), (1, [4, 5], [])):
        scores = vectors @ (vectors[history].sum(axis=0) + 0.1)
        scores[seen] = -np.inf
        best = np.argsort(-scores)[:3]
        assert answer.outputs["items"][row].tolist() == [f"i{n}" for n in best]
        np.testing.assert_allclose(answer.outputs["scores"][row], scores[best], rtol=1e-4)


def test_nothing_stands_where_nothing_is_left(client: Client) -> None:
    answer = client.retrieve(np.ones((1, 4), np.float32), 3, [[f"i{n}" for n in range(1, 30)]])
    assert answer.outputs["items"].tolist() == [["i0", "", ""]]
    assert answer.outputs["scores"][0, 1:].tolist() == [LOWEST, LOWEST]


@pytest.mark.parametrize(
    ("users", "k", "told"),
    [
        (np.ones((1, 3)), 1, r"users must be vectors of width 4, got shape \(1, 3\)"),
        (np.ones(4), 1, r"embedding must be float32 \(B, d\), got float32 \[4\]"),
        (np.full((1, 4), np.nan), 1, "embedding must be finite"),
        (np.ones((1, 4)), 0, "k must be at least 1, got 0"),
        (np.ones((1, 4)), [1], r"k must be int64 \(\), got int64 \[1\]"),
        (np.ones((1025, 4)), 1, "a request takes at most 1024 users, got 1025"),
        (np.ones((2, 4)), 1 << 20, "2 users with k 1048576 and 0 items seen are more than 1048576"),
    ],
)
def test_refuses_what_does_not_fit(client: Client, users: np.ndarray, k, told: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=told):
        client.retrieve(users, k)


def test_a_version_that_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(errors.NotFound, match=r"version 7.*Specific\(towers, 7\)"):
        client.retrieve(np.ones((1, 4)), 1, version=7)


def test_other_models_have_no_index(server) -> None:
    with (
        Client(server.grpc, "catalogue", timeout=60) as client,
        pytest.raises(errors.FailedPrecondition, match="catalogue version 2 has no retrieval index"),
    ):
        client.retrieve(np.ones((1, 4)), 1)


def test_rest_has_no_retrieval(start_towers) -> None:
    with Client(start_towers.rest, "towers", rest=True) as client, pytest.raises(errors.ServingError) as told:
        client.retrieve(np.ones((1, 4)), 1)
    assert told.value.code is grpc.StatusCode.UNIMPLEMENTED
