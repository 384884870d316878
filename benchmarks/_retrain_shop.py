"""The example shop as a log that grows by files, and a config that retrains on it in seconds."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
CUTS = ("2026-03-23", "2026-04-05", "2026-06-01")
"""A period's orders are those before its end."""

CONFIG = """
name: shop
runs: runs
data:
  reader: tables
  path: raw
  users: customers.csv
  items: products.csv
  events: orders_*.csv
  columns:
    users: {user_id: customer, city: city, born: born}
    items: {item_id: sku, title: name, categories: shelf}
    events: {user_id: customer, item_id: sku, event_time: at, event_type: kind, value: pieces}
features: {history_length: 10}
examples: {split: global_time, windows: all, shards: 1, min_count: 2}
train:
  batch: 64
  epochs: 2
  steps_per_schedule: 1
  model: {d: 8, blocks: 1, heads: 1, max_length: 10, dropout: 0.1}
  optimizer: {kind: adam, learning_rate: 3e-3}
variants:
  ids: {}
export: {warmup_requests: 2}
retrain: {epochs: 1, max_loss: 1.0, max_segment_loss: 1.0, alpha: 1e-9, max_latency_ratio: 0, bootstrap: 100}
"""


def make(folder: Path) -> Path:
    """Writes the shop without orders, and a config with paths relative to the folder; returns the config's path."""
    raw, tables = folder / "raw", REPOSITORY / "configs" / "example_tables"
    raw.mkdir(parents=True)
    for name in ("customers.csv", "products.csv"):
        (raw / name).write_bytes((tables / name).read_bytes())
        os.utime(raw / name, (0, 0))  # another shop has the same file
    config = folder / "shop.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def arrive(folder: Path, period: int) -> None:
    """Adds a period's orders, from 0, to the raw files."""
    begin, end = ("", *CUTS)[period], CUTS[period]
    with (REPOSITORY / "configs" / "example_tables" / "orders.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (folder / "raw" / f"orders_{period}.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(row for row in rows if begin <= row["at"] < end)
    os.utime(folder / "raw" / f"orders_{period}.csv", (period, period))


def retrain(config: Path, die_after: str = "", here: bool = False) -> None:
    """`antiphon retrain` as a process; with ``die_after`` it is to kill itself after that step, with ``here`` its
    stages are done in it.

    Raises:
        RuntimeError: it ended otherwise.
    """
    command = [sys.executable, "-m", "antiphon.cli", "retrain", "-c", config.name]
    command += ["--die-after", die_after] if die_after else []
    command += ["--here"] if here else []
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=config.parent, env=environment, capture_output=True, text=True)
    if done.returncode != (-signal.SIGKILL if die_after else 0):
        said = done.stdout[-3000:] + done.stderr[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")


def snapshot(folder: Path) -> dict[str, Any]:
    """What retraining left: all but times, and what is measured in seconds or bytes."""
    places = folder / "runs" / "shop" / "retrain"
    found: dict[str, Any] = {"state": json.loads((places / "state.json").read_text())}
    text = (places / "served" / "models.config").read_text()
    found["models.config"] = re.sub(r'"/.*/runs/', '"runs/', text)  # a copy still names the folder it is a copy of
    for version in sorted((places / "served" / "ids").iterdir()):
        files = sorted(str(file.relative_to(version)) for file in version.rglob("*") if file.is_file())
        found[f"version {version.name}"] = files
    for path in sorted(places.glob("rounds/*")):
        decision = json.loads((path / "decision.json").read_text())
        for section, names in (("measured", ("latency", "size")), ("training", ("seconds", "processor_seconds"))):
            decision[section] = {name: each for name, each in decision[section].items() if name not in names}
        decision["gate"] = [(each["rule"], each["passed"]) for each in decision["gate"]]
        found[f"round {path.name}"] = _rounded(decision)
        found[f"folders of {path.name}"] = sorted(each.name for each in path.iterdir())
        for name in ("tables", "examples"):
            manifest = path / name / "MANIFEST.json"
            if manifest.is_file():  # else the round is old
                found[f"{name} of {path.name}"] = hashlib.sha256(manifest.read_bytes()).hexdigest()
    return found


def _rounded(value: Any) -> Any:
    """Floats to six digits: two trainings of one model differ in the last ones."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
