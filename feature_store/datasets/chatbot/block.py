"""A block of users: their sessions of the written weeks, and the truth of these."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot import texts
from feature_store.datasets.chatbot.draws import ranges
from feature_store.datasets.chatbot.features import SCHEMA
from feature_store.datasets.chatbot.order_state import order_state
from feature_store.datasets.chatbot.orders import latest, open_orders, orders
from feature_store.datasets.chatbot.regions import FIRST_DAY
from feature_store.datasets.chatbot.signs import posterior, signs
from feature_store.datasets.chatbot.situations import Situations
from feature_store.datasets.chatbot.slates import slates
from feature_store.datasets.chatbot.users import users
from feature_store.datasets.chatbot.visits import moments, past, visit
from feature_store.datasets.chatbot.wants import Wants, membership, wants

_MICROSECONDS = 86_400_000_000


def block(
    rng: np.random.Generator,
    situations: Situations,
    entered: np.ndarray,
    config: SimulateConfig,
    first_user: int,
    size: int,
) -> tuple[pa.Table, pa.Table]:
    """Sessions (`features.SCHEMA`) and truth (`simulate.TRUTH`) of ``size`` users, numbered from ``first_user``."""
    begin, end = -7.0 * config.warm_up_weeks, 7.0 * config.weeks
    people = users(rng, size)
    bought = orders(rng, people, begin, end)
    user, day = moments(rng, people, bought, begin, end, config.visits)
    which = latest(bought, user, day)
    state = order_state(bought, which, day, rng)
    state["open_orders"] = open_orders(bought, user, day)
    earlier = past(rng, user, day)
    profile = {name: values[user] for name, values in people.items() if name != "order_rate"}
    columns = {**profile, **state, **visit(rng, people, user, day, state), **earlier}
    solved = columns.pop("solved")
    wanted = wants(rng, situations, columns, user, day, solved == 2, entered, config)
    seen = signs(rng, situations, wanted.first, config)
    shown, clicked = slates(rng, wanted, config)

    product, message = texts.of_orders(bought, which, columns.pop("tracking_event"))
    columns.pop("refund_share")
    owned_by_page = np.array(product, dtype=object)[np.repeat(np.arange(len(user)), np.diff(seen.offsets))].tolist()
    told: dict[str, pa.Array] = {name: _column(name, values) for name, values in columns.items()}
    told["product_title"], told["tracking_message"] = pa.array(product), pa.array(message)
    told["page_types"] = _lists(seen.offsets, pa.array(seen.pages))
    titles = texts.page_titles(rng, situations, seen.pages, seen.helps, owned_by_page)
    told["page_titles"] = _lists(seen.offsets, pa.array(titles, pa.string()))
    told["page_minutes"] = _lists(seen.offsets, pa.array(seen.minutes.astype(np.float32)))
    told["last_search"] = pa.array(texts.said(rng, situations, seen.typed, product), pa.string())
    told["last_dialogue_text"] = pa.array(texts.said(rng, situations, wanted.before, product), pa.string())
    told |= _clicks_before(situations, user, day, shown, clicked)
    told |= _dialogues_before(situations, user, day, wanted.first, solved)

    names = pa.array(situations.ids, pa.string())
    count = shown.shape[1]
    steps = np.arange(0, (len(user) + 1) * count, count)
    told["shown"] = _lists(steps, names.take(pa.array(shown.ravel())))
    told["clicked"] = _lists(np.concatenate([[0], np.cumsum(clicked.sum(1))]), names.take(pa.array(shown[clicked])))
    test = day >= end - 7
    true = _true(names, wanted)
    told["intents"] = pc.if_else(pa.array(test), true, pa.scalar([], true.type))
    rank = np.arange(len(user)) - np.searchsorted(user, user)
    told["user_id"] = pa.array([f"u{number:07d}" for number in user + first_user])
    told["session_id"] = pa.array(
        [f"u{number:07d}-{visits:02d}" for number, visits in zip(user + first_user, rank, strict=True)]
    )
    zero = int(FIRST_DAY.timestamp() * 1e6)
    told["session_time"] = pa.array(zero + (day * _MICROSECONDS).astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))

    written = pa.array(day >= 0)
    rows = pa.table({field.name: told[field.name] for field in SCHEMA.arrow()}, schema=SCHEMA.arrow()).filter(written)
    chances = _chances(situations, config, wanted, seen.evidence, test)
    truth = pa.table({"session_id": told["session_id"], "intents": true, "probabilities": chances}).filter(written)
    return rows, truth


def _column(name: str, values: np.ndarray) -> pa.Array:
    if SCHEMA.feature(name).kind == "id":
        return pa.array(values.astype(np.int64), mask=values <= 0)
    return pa.array(values.astype(np.float32), from_pandas=True)


def _lists(offsets: np.ndarray, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _true(names: pa.Array, wanted: Wants) -> pa.ListArray:
    has = wanted.second >= 0
    both = np.stack([wanted.first, np.maximum(wanted.second, 0)], 1)
    kept = np.stack([np.ones(len(has), bool), has], 1)
    return _lists(np.concatenate([[0], np.cumsum(1 + has)]), names.take(pa.array(both[kept])))


def _newest(user: np.ndarray, per_visit: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Of things that each visit (sorted by user, day) leaves ``per_visit`` of, numbered in order: the newest ``length``
    that the same user's earlier visits left. Numbers and offsets, as `draws.ranges`."""
    ends = np.concatenate([[0], np.cumsum(per_visit)])[:-1]
    return ranges(np.maximum(ends[np.searchsorted(user, user)], ends - length), ends)


def _clicks_before(
    situations: Situations, user: np.ndarray, day: np.ndarray, shown: np.ndarray, clicked: np.ndarray
) -> dict[str, pa.Array]:
    length = SCHEMA.feature("clicked_intents").length
    which, offsets = _newest(user, clicked.sum(1), length)
    when = np.repeat(day, clicked.sum(1))
    hours = np.floor(24 * (np.repeat(day, np.diff(offsets)) - when[which]))
    names = pa.array(situations.ids[shown[clicked][which]], pa.string())
    return {"clicked_intents": _lists(offsets, names),
            "clicked_hours": _lists(offsets, pa.array(hours.astype(np.float32)))}  # fmt: skip


def _dialogues_before(
    situations: Situations, user: np.ndarray, day: np.ndarray, first: np.ndarray, solved: np.ndarray
) -> dict[str, pa.Array]:
    length = SCHEMA.feature("dialogue_intents").length
    which, offsets = _newest(user, np.ones(len(user), int), length)
    days = np.floor(np.repeat(day, np.diff(offsets)) - day[which])
    return {"dialogue_intents": _lists(offsets, pa.array(situations.ids[first[which]], pa.string())),
            "dialogue_days": _lists(offsets, pa.array(days.astype(np.float32))),
            "dialogue_solved": _lists(offsets, pa.array(solved[which]))}  # fmt: skip


def _chances(
    situations: Situations, config: SimulateConfig, wanted: Wants, evidence: np.ndarray, test: np.ndarray
) -> pa.Array:
    """Of the test week's visits each intent's chance to be a true one; of the others nothing."""
    found = posterior(wanted.prior[test], evidence[test])
    found = membership(situations, config, found, wanted.available[test]).astype(np.float32)
    lengths = np.where(test, len(situations.ids), 0)
    return _lists(np.concatenate([[0], np.cumsum(lengths)]), pa.array(found.ravel()))
