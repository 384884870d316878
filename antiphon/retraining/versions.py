"""`antiphon versions`: what was made, what is served, and the way to another version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from antiphon import processes
from antiphon.config import Config
from antiphon.retraining.state import Places
from feature_store.checks import require
from serving import rollout


def listed(config: Config) -> str:
    """A line a round: its version, labels, outcome, quality on its hold-out, items and new events."""
    places = Places.of(config)
    names = rollout.labels(places.models_config, places.variant)
    lines = [f"{'version':>7}  {'labels':<14} {config.retrain.metric:>9} {'items':>9} {'events':>10}  outcome"]
    for number in range(1, places.read_state().round + 1):
        found = places.decision(number)
        if found:
            labels = ", ".join(sorted(label for label, version in names.items() if version == number))
            quality = found["measured"]["quality"]["candidate"][config.retrain.metric]
            items, events = found["vocabulary"]["items"], found["events"]["new"]
            lines.append(f"{number:>7}  {labels:<14} {quality:>9.4f} {items:>9,} {events:>10,}  {found['outcome']}")
    return "\n".join(lines) + "\n"


def differences(config: Config, one: int, other: int) -> str:
    """What two versions' manifests and records say differently: "field: of one -> of the other"."""
    places = Places.of(config)
    sides = [_flat(_about(places, version)) for version in (one, other)]
    keys = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(key) != sides[1].get(key)]
    lines = [f"{key}: {sides[0].get(key, '-')} -> {sides[1].get(key, '-')}" for key in keys]
    return "\n".join(lines or ["no difference"]) + "\n"


def promote(config: Config, version: int) -> str:
    """Makes a published version the stable one."""
    return _move(config, version)


def roll_back(config: Config) -> str:
    """Makes the version stable again that was before."""
    before = Places.of(config).read_state().before
    require(bool(before), "rollback", "needs a version that was stable before this one", list(before))
    return _move(config, before[-1], back=True)


def _move(config: Config, version: int, back: bool = False) -> str:
    places = Places.of(config)
    with processes.lock(places.folder):
        state = places.read_state()
        under_way = (places.round(state.round + 1) / "steps").is_dir()
        require(not under_way, "versions", "must not change in a round; `antiphon retrain` ends it", state.round + 1)
        published = (places.served / str(version)).is_dir()
        require(published, "the version", f"must be published in {places.served}", version)
        if version != state.stable:
            rollout.write(places.models_config, places.variant, places.served, {"stable": version})
            moved = state.rolled_back() if back else state.promoted(version)
            places.write_state(moved)
    return f"version {version} of {places.variant} is stable\n"


def _about(places: Places, version: int) -> dict[str, Any]:
    folder = places.served / str(version)
    folder = folder if folder.is_dir() else places.candidate(version)
    path = folder / "assets.extra" / "manifest.json"
    require(path.is_file(), "the version", f"must be one of {places.folder}", version)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    decision = places.decision(version) or {}
    return {
        "outcome": decision.get("outcome"),
        "quality": decision.get("measured", {}).get("quality", {}).get("candidate", {}),
        "items": manifest["vocabulary"]["item"]["size"],
        "data_window": manifest["data_window"],
        "checkpoint": manifest["checkpoint"],
        "config": manifest["config"],
    }


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return found
