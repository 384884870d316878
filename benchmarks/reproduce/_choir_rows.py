"""ChoirRec's rows: which model, on which data, with which groups, and how each is configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon.config import Config, load

CONFIGS = Path(__file__).parents[2] / "configs"
SIMULATED = ("market", "null")
DATA = ("ml1m", "tmall", *SIMULATED)
SEEDS = {"ml1m": 3, "tmall": 1, "market": 5, "null": 5}
"""Trainings of each row; those of a simulated world have a market each."""
ABLATED = {"ml1m": 1, "market": 5}
"""Trainings of each ablation, of the data that have them."""

OWN = "profiles"  # groups of the profiles, as configured
IDS = "ids"  # of users' vectors in the base model
WHOLE = "whole"  # of profiles whose text is encoded as a whole
SEGMENTS = "segments"  # the simulated market's own, which nobody could know
BASELINES = ("base", "poso", "cold_transformer", "melt", "uie")
FULL = "choirrec"
ORACLE = "oracle"

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "without_id": {"group_id": False},
    "without_attributes": {"group_attributes": False},
    "without_sequence": {"group_behaviour": False},
    "without_dual": {"dual": False},
    "without_distillation": {"distill_weight": 0.0},
    "without_injection": {"inject": False},
    "kl": {"distill": "kl"},
    "without_margin": {"margin": 0.0},
}
"""Table 2's rows but the first, which has other groups."""
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "kl_open_teacher": {"distill": "kl", "detach_teacher": False},
    "base_parent": {"parent": "base"},
    "open_injection": {"detach_injected": False},
    "printed_confidence": {"confidence": "printed", "min_confidence": 0.1},
    "distill_floor": {"floor": 0.1},
    "fused_loss": {"channel_weight": 0.0},
}
"""Where the paper is open, the other reading."""
WEIGHTS = (0.001, 0.0025, 0.005, 0.01, 0.05)  # λ
CENTROIDS = (32, 64, 128, 256, 512)  # k
SETTINGS: Mapping[str, Mapping[str, Any]] = {"plain": {}, "dropout": {"dropout": 0.2}, "wide": {"d": 32}}
"""What of ``model`` each model was tried with on the first seed; the configs have what did best on validation."""
RATES: Mapping[str, float] = {"third": 1 / 3, "thrice": 3.0}
"""What else the base was tried with, as a factor of the config's learning rate, which all models of a data set have."""
RATED = 3  # trainings of it
CHANGES = {**ABLATIONS, **SWITCHES, **{f"lambda_{w:g}": {"distill_weight": w} for w in WEIGHTS}}


@dataclass(frozen=True, order=True)
class Row:
    """One model, trained and evaluated once."""

    data: str
    model: str
    groups: str = OWN  # OWN | IDS | WHOLE | SEGMENTS | k<centroids>
    seed: int = 1
    setting: str = ""  # one of SETTINGS or RATES, judged by validation alone; "": the config's

    def __str__(self) -> str:
        groups = "" if self.groups == OWN else f" · groups {self.groups}"
        setting = f" · {self.setting}" if self.setting else ""
        return f"{self.data} · {self.model}{groups}{setting} · seed {self.seed}"

    @property
    def name(self) -> str:
        """Of its folder among the models of its world."""
        return f"{self.model}-{self.setting}-{self.seed}" if self.setting else f"{self.model}-{self.seed}"

    @property
    def world(self) -> Row:
        """What tells its log, groups and requests: of real data all seeds have the same."""
        return self if self.data in SIMULATED else replace(self, seed=1)

    @property
    def base(self) -> Row:
        """What it is compared with: an ablation with the full model, every other one with the base; a setting with
        nothing but itself."""
        if self.setting:
            return self
        ablated = self.model in {**ABLATIONS, **SWITCHES} or self.groups in (IDS, WHOLE)
        return Row(self.data, FULL if ablated else "base", OWN, self.seed)


def rows(data: tuple[str, ...] = DATA, seeds: int = max(SEEDS.values())) -> list[Row]:
    """All of the page's. Ablations and sweeps are of MovieLens and the market, the paper's other readings of the market
    alone; the null world has the first table, and the settings that did best on the market."""
    found = []
    for one in data:
        if one != "null":
            found += [Row(one, model, setting=setting) for model in (*BASELINES, FULL) for setting in SETTINGS
                      if setting != chosen(one, model)]  # fmt: skip
            found += [Row(one, "base", OWN, seed, rate) for seed in _seeds(one, RATED) for rate in RATES]
        for seed in _seeds(one, seeds):
            found += [Row(one, model, OWN, seed) for model in (*BASELINES, FULL)]
            found += [Row(one, ORACLE, OWN, seed)] if one in SIMULATED else []
            found += [Row(one, FULL, SEGMENTS, seed)] if one == "market" else []
            if seed <= ABLATED.get(one, 0):
                found += [Row(one, FULL, IDS, seed), *(Row(one, model, OWN, seed) for model in ABLATIONS)]
        found += [Row(one, model) for model in SWITCHES] if one == "market" else []
        if one in ABLATED:
            found += [Row(one, model) for model in CHANGES if model.startswith("lambda")]
            found += [Row(one, FULL, WHOLE), *(Row(one, FULL, f"k{k}") for k in CENTROIDS)]
    return found


def _seeds(data: str, most: int) -> range:
    return range(1, min(most, SEEDS[data]) + 1)


def config(row: Row, runs: Path) -> Config:
    """The row's data, groups and training: the file of its data, with what the row changes."""
    whole = _file(row.data)
    if row.data in SIMULATED:
        market = replace(whole.market, seed=row.seed, null_world=row.data == "null")
        log = str(runs / f"{row.data}_log_{row.seed}")
        whole = replace(whole, market=market, data=replace(whole.data, path=log))
    groups = whole.groups
    if row.groups == SEGMENTS:
        groups = replace(groups, levels=2)
    elif row.groups.startswith("k"):
        k = int(row.groups[1:])
        groups = replace(groups, k=k, sample=max(groups.sample, k))
    profiles = replace(whole.profiles, encode="whole") if row.groups == WHOLE else whole.profiles
    whole = replace(whole, groups=groups, profiles=profiles)
    return replace(whole, name=f"{row.data}_{row.seed}", runs=str(runs), ranker=_ranker(whole, row))


def chosen(data: str, model: str) -> str:
    """The setting that the config has.

    Raises:
        ValueError: it has none of them.
    """
    whole = _file(data)
    for setting in SETTINGS:
        if whole.rankers[model] == _set(whole, model, setting):
            return setting
    rule = f"must have one of the settings {list(SETTINGS)}"
    raise ValueError(f"{data}: rankers.{model} {rule}, received {whole.rankers[model]}")


def _file(data: str) -> Config:
    return load(CONFIGS / f"{'market' if data == 'null' else data}_choirrec.yaml")


def _set(whole: Config, model: str, setting: str) -> Any:
    """The model's ranker with one of `SETTINGS`, whatever it has."""
    ranker, plain = whole.rankers[model], whole.ranker.model
    changed = {name for values in SETTINGS.values() for name in values}
    values = {name: getattr(plain, name) for name in changed} | SETTINGS[setting]
    return replace(ranker, model=replace(ranker.model, **values))


def _ranker(whole: Config, row: Row) -> Any:
    """The base's settings for the base, else those of the file's ranker of that kind, else the full model's."""
    kinds = whole.rankers
    ranker = kinds[row.model] if row.model in kinds else kinds["base" if row.model == ORACLE else FULL]
    if row.setting in SETTINGS:
        ranker = _set(whole, row.model, row.setting)
    elif row.setting:
        rates = {name: round(RATES[row.setting] * getattr(ranker.optimizer, name), 6)
                 for name in ("learning_rate", "final_rate")}  # fmt: skip
        ranker = replace(ranker, optimizer=replace(ranker.optimizer, **rates))
    codes = tuple(f"group_{level}" for level in range(1, whole.groups.levels + 1))
    choir = replace(ranker.choir, codes=codes, **CHANGES.get(row.model, {}))
    return replace(ranker, choir=choir, seed=row.seed)
