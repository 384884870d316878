"""What a block of users was shown, and what they did, with the true probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.market.config import MarketConfig
from feature_store.market.people import BLOCK, People, draw
from feature_store.market.world import World, pick, random

_DAY = 86_400
_CHOICE = 8  # items that a purchase of the past was chosen from
_BETWEEN = 15  # seconds between the impressions of a page
_TEST, _REFERENCE = 2, 3  # streams of random numbers: of behaviour, of the block that the intercepts are found on
ENTRIES = ("home", "search", "panel")


class Intercepts(NamedTuple):
    """c and k of `MarketConfig`."""

    click: float
    convert: float


class _Shown(NamedTuple):
    """R impressions, by user and time: numbers of user within the block and item, seconds, place on the page, entry,
    and the log-odds of a click and of a purchase after it, without their intercepts."""

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    place: np.ndarray
    entry: np.ndarray
    click: np.ndarray
    convert: np.ndarray


def intercepts(config: MarketConfig, world: World) -> Intercepts:
    """Those with which a block of reference has `click_rate`, and `conversion_rate` among its clicks."""
    shown = _impressions(config, world, draw(config, world, 0), random(config, _REFERENCE))
    click = _solve(shown.click, np.ones(len(shown.click)), config.click_rate)
    return Intercepts(click, _solve(shown.convert, _sigmoid(shown.click + click), config.conversion_rate))


def tables(config: MarketConfig, world: World, found: Intercepts, block: int) -> dict[str, pa.Table]:
    """The block's part of users, impressions, truth, events and searches; of users beyond `users` nothing."""
    people, chance = draw(config, world, block), random(config, _TEST, block)
    shown = _impressions(config, world, people, chance)
    p_click, p_convert = _sigmoid(shown.click + found.click), _sigmoid(shown.convert + found.convert)
    rows = len(p_click)
    clicked = chance.random(rows) < p_click
    converted = clicked & (chance.random(rows) < p_convert)
    searches, past = _searches(config, world, people, chance), _past(config, world, people, chance)

    size = min(BLOCK, config.users - people.first)
    whose = people.ids.take(pa.array(shown.user))
    number = np.arange(rows) - np.searchsorted(shown.user, shown.user)  # of the user's impressions
    ids = pc.binary_join_element_wise(whose, pa.array(number).cast(pa.string()), "-")
    users = people.ids[:size]
    there = shown.user < size
    acted = there & (shown.entry != ENTRIES.index("panel"))
    acts = [past, *_acts(shown, acted & clicked, acted & converted, chance)]
    if config.unclicked < 1:  # drawn last: what else happens stays as it is
        there &= clicked | (chance.random(rows) < config.unclicked)
    impressions = pa.table(
        {
            "impression_id": ids,
            "user_id": whose,
            "item_id": world.ids.take(pa.array(shown.item)),
            "event_time": _moments(shown.time),
            "clicked": pa.array(clicked.astype(np.int8)),
            "converted": pa.array(converted.astype(np.int8)),
            "position": pa.array(shown.place),
            "entry": pa.array(np.array(ENTRIES)[shown.entry]),
        }
    )
    chances = {"p_click": pa.array(p_click, pa.float32()), "p_convert": pa.array(p_convert, pa.float32())}
    truth = pa.table({"impression_id": ids, **chances})
    return {
        "users": pa.table({"user_id": users, **{n: c[:size] for n, c in people.attributes.items()}}),
        "impressions": impressions.filter(pa.array(there)),
        "truth": truth.filter(pa.array(there)),
        "events": _events(world, people, size, acts),
        "searches": searches.filter(pc.is_in(searches["user_id"], value_set=users)),
    }


def _impressions(config: MarketConfig, world: World, people: People, chance: np.random.Generator) -> _Shown:
    expected = people.clicks / config.click_rate / config.page
    pages = np.floor(expected + chance.random(BLOCK)).astype(np.int64)
    organic = np.repeat(np.arange(BLOCK), pages)
    panel = np.repeat(np.arange(BLOCK), config.panel_pages)
    reader = np.concatenate([organic, panel])  # (P,) the user of each page
    days = np.concatenate([chance.integers(config.days, size=len(organic)), np.full(len(panel), config.days - 1)])
    start = days * _DAY + _second_of_day(chance, len(reader))
    entry = np.where(chance.random(len(reader)) < config.search_pages, 1, 0)
    entry[len(organic) :] = 2
    order = np.lexsort((start, reader))
    reader, days, start, entry = reader[order], days[order], start[order], entry[order]
    sought = pick(people.searching, reader, chance.random(len(reader)))

    page = np.repeat(np.arange(len(reader)), config.page)  # (R,) the page of each impression
    user, day = reader[page], days[page]
    place = np.tile(np.arange(config.page), len(reader))
    leaf = pick(people.feed, user, chance.random(len(page)))
    leaf = np.where(entry[page] == 1, sought[page], leaf)
    per_leaf = world.shelf.shape[1]
    item = leaf * per_leaf + pick(world.shelf, day * len(world.names) + leaf, chance.random(len(page)))
    time = start[page] + _BETWEEN * place
    taste = _taste(config, world, people, user, item, day)
    click = config.taste_click * taste + config.appeal_click * world.appeal[day, item] - config.position_click * place
    convert = _convert(config, world, people, user, item, taste)
    return _Shown(user, item, config.first_second + time, place, entry[page], click, convert)


def _taste(
    config: MarketConfig, world: World, people: People, user: np.ndarray, item: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """a of `MarketConfig`, (R,)."""
    if config.null_world:
        return _own_draws(config.seed, people.first + user, item)
    branch, angle = people.branch[user], config.drift * day / config.days
    shared = np.cos(angle) * world.taste[branch, item] + np.sin(angle) * world.turned[branch, item]
    own = np.einsum("rd,rd->r", people.own[user], world.item_vectors[item])
    return np.sqrt(config.shared_taste) * shared + np.sqrt(1 - config.shared_taste) * own


def _convert(
    config: MarketConfig, world: World, people: People, user: np.ndarray, item: np.ndarray, taste: np.ndarray
) -> np.ndarray:
    """Log-odds of a purchase after a click, without k."""
    odds = config.taste_convert * taste + config.quality_convert * world.quality[item]
    if config.null_world:
        return odds
    odds -= config.price_convert * np.abs(world.level[item] - people.pays[user])
    return odds - config.purpose * np.log(people.clicks / config.clicks_per_user)[user]


def _own_draws(seed: int, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """A normal number of each pair of user and item, the same whenever they meet: Box and Muller of hashed pairs."""
    pair = (user.astype(np.uint64) << np.uint64(32)) ^ item.astype(np.uint64)
    mixed = _mix(pair + np.uint64(0x9E3779B97F4A7C15 * (seed + 1) % 2**64))
    one, two = (mixed >> np.uint64(11)), (_mix(mixed) >> np.uint64(11))
    radius = np.sqrt(-2 * np.log((one + np.uint64(1)) * 2.0**-53))
    return radius * np.cos(2 * np.pi * two * 2.0**-53)


def _mix(numbers: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele et al. 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


class _Acts(NamedTuple):
    """Clicks or purchases: numbers of user within the block and item, and seconds."""

    kind: str
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray


def _acts(shown: _Shown, clicked: np.ndarray, converted: np.ndarray, chance: np.random.Generator) -> list[_Acts]:
    bought = shown.time[converted]
    # A purchase is over by midnight: the day before the test knows all that came of what it showed.
    over = (bought // _DAY + 1) * _DAY - 1
    bought = np.minimum(bought + 3 + np.minimum(chance.lognormal(5.0, 1.0, len(bought)), 1800), over)
    return [
        _Acts("click", shown.user[clicked], shown.item[clicked], shown.time[clicked] + 3),
        _Acts("purchase", shown.user[converted], shown.item[converted], bought),
    ]


def _past(config: MarketConfig, world: World, people: People, chance: np.random.Generator) -> _Acts:
    """Purchases before the first day: of `_CHOICE` items that a user was shown, one by its log-odds."""
    activity = (people.clicks / config.clicks_per_user) ** 0.6  # the past evens out what two weeks make of a user
    expected = config.past_purchases * activity / _mean_of_power(config, 0.6)
    user = np.repeat(np.arange(BLOCK), np.floor(expected + chance.random(BLOCK)).astype(np.int64))
    day = -1 - chance.integers(max(config.past_days, 1), size=len(user))
    time = config.first_second + day * _DAY + _second_of_day(chance, len(user))
    each, days = np.repeat(user, _CHOICE), np.repeat(day, _CHOICE)
    leaf = pick(people.feed, each, chance.random(len(each)))
    item = leaf * world.shelf.shape[1] + pick(world.shelf, leaf, chance.random(len(each)))
    taste = _taste(config, world, people, each, item, np.maximum(days, -config.days))
    liked = _convert(config, world, people, each, item, taste) + chance.gumbel(size=len(each))
    taken = liked.reshape(-1, _CHOICE).argmax(1) if len(user) else np.zeros(0, np.int64)
    return _Acts("purchase", user, item.reshape(-1, _CHOICE)[np.arange(len(user)), taken], time)


def _mean_of_power(config: MarketConfig, power: float) -> float:
    """The mean of (clicks / clicks_per_user) ** power over all users."""
    share, part, spread = config.regular_share, config.regular_clicks, config.activity_spread
    level = share * (part / share) ** power + (1 - share) * ((1 - part) / (1 - share)) ** power
    return level * np.exp((power**2 - power) * spread**2 / 2)


def _events(world: World, people: People, size: int, acts: list[_Acts]) -> pa.Table:
    """All acts of the first ``size`` users, by user and time. The value of a purchase is its price."""
    user, item, time = (np.concatenate([getattr(act, name) for act in acts]) for name in ("user", "item", "time"))
    kind = np.concatenate([np.full(len(act.user), act.kind == "purchase") for act in acts])
    order = np.lexsort((kind, time, user))
    order = order[user[order] < size]
    user, item, time, kind = user[order], item[order], time[order], kind[order]
    return pa.table(
        {
            "user_id": people.ids.take(pa.array(user)),
            "item_id": world.ids.take(pa.array(item)),
            "event_time": _moments(time),
            "event_type": pa.array(np.where(kind, "purchase", "click")),
            "value": pa.array(np.where(kind, world.price[item], 1.0), pa.float32()),
        }
    )


def _searches(config: MarketConfig, world: World, people: People, chance: np.random.Generator) -> pa.Table:
    activity = (people.clicks / config.clicks_per_user) ** 0.25  # who clicks little searches little less
    count = np.floor(config.searches_per_user * activity + chance.random(BLOCK)).astype(np.int64)
    user = np.repeat(np.arange(BLOCK), count)
    days = chance.integers(config.days, size=len(user))
    time = config.first_second + days * _DAY + _second_of_day(chance, len(user))
    leaf = pick(people.searching, user, chance.random(len(user)))
    query = world.queries[leaf, chance.integers(world.queries.shape[1], size=len(user))]
    order = np.lexsort((time, user))
    whose = people.ids.take(pa.array(user[order]))
    return pa.table({"user_id": whose, "query": pa.array(query[order]), "event_time": _moments(time[order])})


def _second_of_day(chance: np.random.Generator, size: int) -> np.ndarray:
    """Most in the evening, some at noon; a page is over before midnight."""
    hour = np.where(chance.random(size) < 0.6, chance.normal(20, 1.5, size), chance.normal(13, 2.5, size))
    return (np.clip(hour, 6, 23.4) * 3600).astype(np.int64) + chance.integers(60, size=size)


def _moments(seconds: np.ndarray) -> pa.Array:
    return pa.array((np.asarray(seconds) * 1_000_000).astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _solve(logits: np.ndarray, weights: np.ndarray, rate: float) -> float:
    """The intercept with which the weighted mean of the probabilities is ``rate``, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.average(_sigmoid(logits + middle), weights=weights) < rate else (low, middle)
    return (low + high) / 2
