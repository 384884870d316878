"""Groups that are not of profiles, for ChoirRec's rows to be compared with, and what groups know of a market."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from scipy import sparse
from scipy.special import logsumexp
from scipy.stats import entropy
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import normalize

from beam_jobs import profiles
from feature_store import conversions, folders, user_groups
from feature_store.conversion_config import ConversionConfig
from feature_store.market import people, world
from feature_store.market.config import MarketConfig
from llm_offline.profile_vectors import facts
from trainer import train
from trainer.requests import saved as request_saved
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests


def of_segments(told: Path, out: Path, market: MarketConfig) -> None:
    """The groups' folder of the market's own groups: a user's segment, and its branch, which nobody could know.

    Args:
        told: the profiles' folder, whose users and window these have.
    """
    made = folders.read_manifest(told / profiles.USERS)
    users = sorted(user for path in (told / profiles.USERS).glob("*.parquet")
                   for user in pq.read_table(path, columns=["user_id"])["user_id"].to_pylist())  # fmt: skip
    codes = _segments(market)
    mine = [codes[user] for user in users]
    members = Counter(user_groups.name(code[:level]) for code in mine for level in range(3))
    names = sorted(members)
    with folders.new_folder(out) as folder:
        columns = [users, [list(code) for code in mine], [user_groups.name(code) for code in mine], [2] * len(mine)]
        pq.write_table(pa.table(columns, user_groups.USERS_SCHEMA), folder / user_groups.USERS)
        levels = [len(name.split("-")) if name else 0 for name in names]
        table = pa.table([names, levels, [members[name] for name in names]], user_groups.GROUPS_SCHEMA)
        pq.write_table(table, folder / user_groups.GROUPS)
        fitted_on = {"market": asdict(market)}
        version = user_groups.version_of(np.zeros(0), fitted_on)
        files = {name: folders.describe(folder / name, folder) for name in (user_groups.USERS, user_groups.GROUPS)}
        folders.write_manifest(folder, {
            "kind": user_groups.KIND, "version": version, "levels": 2, "training_end": made["training_end"],
            "model_id": "the market's own", "fitted_on": fitted_on, "files": files,
        })  # fmt: skip


def information(groups: Path, market: MarketConfig) -> float:
    """What a user's group tells of the user's segment, nats: their mutual information, over all users."""
    told, codes = pq.read_table(groups / user_groups.USERS, columns=["user_id", "group"]), _segments(market)
    mine, segments = told["group"].to_pylist(), [codes[user][0] for user in told["user_id"].to_pylist()]
    alone, both = (Counter(mine), Counter(segments)), Counter(zip(mine, segments, strict=True))
    return float(sum(entropy(list(counts.values())) for counts in alone) - entropy(list(both.values())))


def of_attributes(log: Path, market: MarketConfig) -> float:
    """What the attributes that users have tell of their segments, nats: the entropy of segments less the mean log loss
    of naive Bayes, learnt from half of the users and asked of the other half. A model that reads them knows as much."""
    return _told(_by_attributes(log, market))


def of_profiles(log: Path, told: Path, market: MarketConfig) -> float:
    """Likewise what users' profiles tell: the attributes, and the facts of what they did.

    Args:
        told: the profiles' folder, of texts that list facts.
    """
    asked = _by_attributes(log, market)
    row = {user: number for number, user in enumerate(asked.users)}
    names: dict[str, int] = {}
    rows, columns, weights = [], [], []
    for path in sorted((told / profiles.USERS).glob("*.parquet")):
        table = pq.read_table(path, columns=["user_id", "text"])
        for user, text in zip(table["user_id"].to_pylist(), table["text"].to_pylist(), strict=True):
            for fact in facts(text, ""):
                if fact.behaviour:
                    rows.append(row[user])
                    columns.append(names.setdefault(fact.text, len(names)))
                    weights.append(fact.weight)
    did = sparse.csr_matrix((weights, (rows, columns)), (len(row), max(len(names), 1)))
    learner = MultinomialNB().fit(did[asked.learns], asked.segments[asked.learns])
    asked.logits[:, learner.classes_] += did @ learner.feature_log_prob_.T
    return _told(asked)


class _Asked(NamedTuple):
    """Of n users: their segments, which of them are learnt from, and log-odds of the segments (n, S)."""

    users: list[str]
    segments: np.ndarray
    learns: np.ndarray
    logits: np.ndarray


def _by_attributes(log: Path, market: MarketConfig) -> _Asked:
    codes = _segments(market)
    table = pq.read_table(log / "users.parquet")
    users = table["user_id"].to_pylist()
    segments = np.array([codes[user][0] for user in users])
    learns, count = np.arange(len(segments)) % 2 == 0, segments.max() + 1
    sizes = np.bincount(segments[learns], minlength=count) + 1.0
    logits = np.tile(np.log(sizes / sizes.sum()), (len(segments), 1))
    for name in table.schema.names[1:]:
        there = table[name].is_valid().to_numpy(zero_copy_only=False)
        values = table[name].drop_null().to_numpy()
        if np.issubdtype(values.dtype, np.number):
            values = np.searchsorted(np.quantile(values, np.arange(0.1, 1, 0.1)), values)
        names, values = np.unique(values, return_inverse=True)
        seen = np.ones((count, len(names)))
        np.add.at(seen, (segments[there & learns], values[learns[there]]), 1)
        logits[there] += np.log(seen / seen.sum(1, keepdims=True)).T[values]
    return _Asked(users, segments, learns, logits)


def _told(asked: _Asked) -> float:
    logits, truth = asked.logits[~asked.learns], asked.segments[~asked.learns]
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(logits)), truth]
    return float(entropy(np.bincount(truth)) - loss.mean())


def _segments(market: MarketConfig) -> dict[str, tuple[int, int]]:
    """A user's segment, and which of its branches."""
    found: dict[str, tuple[int, int]] = {}
    goods = world.make(market)
    for block in range(-(-market.users // people.BLOCK)):
        drawn = people.draw(market, goods, block)
        each = zip((drawn.branch // world.BRANCHES).tolist(), (drawn.branch % world.BRANCHES).tolist(), strict=True)
        found.update(zip(drawn.ids.to_pylist(), each, strict=True))
    return found


def of_ids(shared: Path, early: Path, conversion: ConversionConfig, ranker: RequestTrainConfig, out: Path) -> None:
    """The profiles' folder with users' vectors in a base model in the place of those of their texts.

    That model learns in ``early`` from what was before the profiles' end, and so has seen what they tell, and no label
    of the requests that their groups are for.
    """
    shutil.rmtree(early, ignore_errors=True)
    conversions.write(shared / "tables", None, None, early / "requests", conversion)
    train.run(early / "requests", None, early / "model", ranker)
    data = Requests(early / "requests")
    model = request_saved.load(early / "model", data).ranker
    feature = data.features[conversions.USER]
    table = model.features.tables[0]
    source = shared / "profiles" / profiles.USERS
    manifest = folders.read_manifest(source)
    with folders.new_folder(out / profiles.USERS) as scratch:
        for path in sorted(source.glob("*.parquet")):
            rows = pq.read_table(path)
            ids = tf.strings.to_hash_bucket_fast(tf.constant(rows["user_id"].to_pylist()), feature.hash_buckets)
            vectors = table.lookup(model.features.rows(conversions.USER, ids)).numpy()
            unit = normalize(vectors)
            kind = rows.schema.field("vector").type
            if pa.types.is_fixed_size_list(kind):
                kind = pa.list_(pa.float32(), unit.shape[1])
            column = pa.array(list(unit.astype(np.float32)), kind)
            rows = rows.set_column(rows.schema.get_field_index("vector"), "vector", column)
            pq.write_table(rows, scratch / path.name)
        manifest = {**manifest, "model_id": f"{manifest['model_id']} by id", "width": int(vectors.shape[1])}
        folders.write_manifest(scratch, _described(manifest, scratch))


def _described(node: Any, folder: Path) -> Any:
    """A manifest whose files have what they are now."""
    if isinstance(node, dict):
        if {"file", "bytes", "sha256"} <= node.keys():
            return {**node, **folders.describe(folder / node["file"], folder)}
        return {name: _described(value, folder) for name, value in node.items()}
    return [_described(value, folder) for value in node] if isinstance(node, list) else node
