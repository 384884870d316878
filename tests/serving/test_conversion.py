"""A user's chances to buy, from a server and a store of groups, beside the model called with what lies offline."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from antiphon.config import load
from beam_jobs import groups, ingest, priors, profiles
from feature_store import conversions, group_views, request_inputs, requests
from feature_store.errors import DataError, StoreTimeout, StoreUnavailable
from feature_store.group_request import of_group
from feature_store.market.simulate import simulate
from feature_store.request_schema import CANDIDATES, USER_ID
from serving import conversion
from serving.client import Client
from serving.conversion import Conversions
from serving.online_features import DOWN, LATE, READ, OnlineFeatures
from trainer import train
from trainer.requests import export
from trainer.requests.choir_config import ChoirConfig
from trainer.requests.config import RequestModelConfig

LONG = 60.0  # seconds that nothing here takes


@pytest.fixture(scope="module")
def run(tmp_path_factory, repository):
    """A run's folder with ChoirRec exported once, of a small market's first days."""
    folder = tmp_path_factory.mktemp("run")
    config = load(repository / "configs" / "market_tiny.yaml")
    config = replace(config, data=replace(config.data, path=str(folder / "log")))
    simulate(config.market, folder / "log")
    ingest.run(config.data, folder / "tables", config.beam)
    profiles.run(folder / "tables", folder / "profiles", config.profiles, config.beam)
    groups.run(folder / "profiles", folder / "groups", config.groups, config.beam)
    known = [folder / name for name in ("tables", "groups", "priors")]
    priors.run(*known, replace(config.priors, leave_one_out=False), config.features.online, config.beam)
    conversions.write(*known, folder / "requests", replace(config.conversion, user_buckets=16, shards=1))
    ranker = replace(
        config.ranker, batch=32, epochs=1, select="auc", choir=ChoirConfig(codes=("group_1", "group_2")),
        model=RequestModelConfig("choirrec", d=4, hidden=(8, 4), attention=(4,), exclude=("skipped",)),
    )  # fmt: skip
    train.run(folder / "requests", None, folder / "models" / "choirrec", ranker)
    export.run(folder / "requests", folder / "models" / "choirrec", folder / "export" / "choirrec", config.export)
    return folder


@pytest.fixture(scope="module")
def exported(run):
    return conversion.newest(run / "export" / "choirrec")


@pytest.fixture(scope="module")
def client(run, start_once):
    server = start_once("--model_name=choirrec", f"--model_base_path={run / 'export' / 'choirrec'}")
    with Client(server.grpc, "choirrec", timeout=LONG) as client:
        yield client


@pytest.fixture(scope="module")
def rows(run, exported):
    """Requests of the test split: all of their features, those of groups from the files among them."""
    names = [USER_ID, CANDIDATES, *(feature.name for feature in exported.features)]
    return requests.read_rows(run / "requests", "test", names).slice(0, 20).to_pylist()


def ours(row):
    """What a caller knows."""
    group = ("group_", "prior_")
    return {name: value for name, value in row.items()
            if name not in (USER_ID, CANDIDATES) and not name.startswith(group)}  # fmt: skip


def test_what_is_looked_up_online_is_what_the_model_was_trained_with(run, exported, rows):
    with conversion.open_groups(run / "priors", exported, LONG) as features:
        for row in rows:
            (user,) = features.read(group_views.USER_GROUP, [row[USER_ID]]).rows
            (prior,) = features.read(group_views.GROUP_PRIOR, [user["group"]]).rows
            online = request_inputs.inputs(of_group(user, prior, exported.features), exported.features)
            offline = request_inputs.inputs(row, exported.features)
            names = [name for name in offline if name.startswith(("group_", "prior_"))]
            assert {"group_1", "group_sequence", "prior_categories"} <= set(names)
            for name in names:
                np.testing.assert_array_equal(online[name], offline[name], name)
        assert any(row["group_1"] for row in rows) and any(row["group_sequence"] for row in rows)


def test_a_server_answers_as_the_model_does_with_every_candidate(run, exported, rows, client):
    items = sorted({row[CANDIDATES][0] for row in rows})
    signature = tf.saved_model.load(str(run / "export" / "choirrec" / "1")).signatures["predict_cvr"]
    with conversion.open_groups(run / "priors", exported, LONG) as features:
        asked = Conversions(client, features, exported)
        for row in rows[:3]:
            found = asked.predict(row[USER_ID], ours(row), items)
            inputs = request_inputs.inputs(row, exported.features)
            candidates = np.array([[item.encode() for item in items]])
            expected = signature(**{name: tf.constant(value) for name, value in inputs.items()},
                                 candidates=tf.constant(candidates))  # fmt: skip
            np.testing.assert_allclose(found.probabilities, expected["probabilities"][0], rtol=1e-5)
            np.testing.assert_allclose(found.told["fusion"], expected["fusion"][0], rtol=1e-5)
            assert (found.groups, found.version) == (READ, 1)


def test_without_the_store_it_answers_all_the_same_and_says_so(exported, rows, client):
    class Gone:
        def __init__(self, error):
            self.error = error

        def read_with_times(self, view, keys):
            raise self.error

        def defaults(self, view):
            return group_views.GroupSchema().view(view).defaults()

        def close(self):
            pass

    alone = Conversions(client, None, exported).predict("u", ours(rows[0]), ["x"])
    for error, outcome in ((StoreTimeout("late"), LATE), (StoreUnavailable("down"), DOWN)):
        with OnlineFeatures(Gone(error)) as features:
            found = Conversions(client, features, exported).predict("u", ours(rows[0]), ["x"])
        assert found.groups == outcome
        assert found.probabilities == alone.probabilities and math.isfinite(alone.probabilities[0])


def test_what_the_model_does_not_know_is_told(run, exported, client):
    asked = Conversions(client, None, exported)
    with pytest.raises(ValueError, match=r"known must have features of 'choirrec' alone, received \['mood'\]"):
        asked.predict("u", {"mood": "good"}, ["x"])
    with pytest.raises(ValueError, match="candidates must hold at least one item"):
        asked.predict("u", {}, [])
    with pytest.raises(DataError, match="is of another codebook: it must be 'v0'"):
        conversion.open_groups(run / "priors", replace(exported, groups="v0"))
    assert conversion.open_groups(run / "priors", replace(exported, groups="")) is None
    with pytest.raises(DataError, match="there is no exported version"):
        conversion.newest(run / "export" / "none")
