"""ChoirRec at size: trained on a cluster of parameter servers, and asked with its groups looked up online.

A market is simulated (`--users`), its users are put into groups, and what they clicked becomes requests; all of it is
made once in `--folder` and kept. Profiles are templates that tell four attributes and one category of each window, so
that many users share a text, and the encoder is cut to one layer: how well they tell users apart is not measured. The
users' ids have as many hash buckets as there are users. Training takes two epochs, of which the second is timed (the
first has the making of graphs), in one process and on a cluster of processes on this machine. Then the model is
exported, and a server process answers `predict_cvr` with `--candidates` candidates for users of the test; for each, the
user's group and the group's features are first read from the online store (`serving.conversion`). Prints one JSON
object on its last line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from antiphon.config import Config, load
from benchmarks import _machine
from benchmarks.reproduce import _choir_work
from benchmarks.reproduce._choir_rows import CONFIGS, FULL, Row
from benchmarks.serving import MODEL, serve_folder
from feature_store import requests
from feature_store.group_request import CODE, PRIOR
from feature_store.request_schema import CANDIDATES, USER_ID
from serving import conversion
from serving.client import Client
from serving.conversion import Conversions
from serving.online_features import READ
from trainer import train

TOLD = ("gender", "household", "occupation", "city")
WARM = 20  # requests before the clock runs

Asked = tuple[str, dict[str, Any], list[str]]
"""A user, what is known of it, and candidates."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench conversion", description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000, help="of the simulated market (%(default)s)")
    parser.add_argument("--clicks", type=float, default=2.0, help="of a user, on average (%(default)s)")
    parser.add_argument("--cluster", default="ps=2,workers=2", help="of processes on this machine (%(default)s)")
    parser.add_argument("--candidates", type=int, default=200, help="of a request (%(default)s)")
    parser.add_argument("--requests", type=int, default=1000, help="of each number of clients (%(default)s)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8], help="at once (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_conversion"), help="(%(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run it; the last line is its figures as JSON."""
    options = parse(argv)
    row = Row("market", FULL)
    configure = _configure(options)
    made = time.monotonic()
    folder = _choir_work.world(row, options.folder, configure)
    figures: dict[str, Any] = {"seconds_to_make": round(time.monotonic() - made, 1)}
    ranker = configure(row, options.folder).ranker
    for name, cluster in (("one_process", ""), ("cluster", options.cluster)):
        model = folder / "models" / name
        shutil.rmtree(model, ignore_errors=True)
        train.run(folder / "requests", None, model, replace(ranker, cluster=cluster))
        figures[name] = _speed(model)
    alone, together = (figures[name]["examples_per_second"] for name in ("one_process", "cluster"))
    figures["ratio"] = round(together / alone, 3)
    figures["serving"] = _serve(folder, folder / "models" / "cluster", configure(row, options.folder), options)
    asked = {name: value for name, value in vars(options).items() if name != "folder"}
    print(json.dumps({"benchmark": "conversion", **asked, **figures, "machine": _machine.describe()}))
    return 0


def _configure(options: argparse.Namespace) -> Callable[[Row, Path], Config]:
    whole = load(CONFIGS / "market_choirrec.yaml")

    def configure(row: Row, runs: Path) -> Config:
        market = replace(
            whole.market, users=options.users, clicks_per_user=options.clicks, past_purchases=1.0, unclicked=0.0,
            panel_pages=0,
        )  # fmt: skip
        encoder = replace(whole.profiles.encoder, layers=1, max_tokens=64, dimensions=64)
        profiles = replace(whole.profiles, attributes=TOLD, categories=1, searches=0, encoder=encoder)
        ranker = replace(whole.rankers[FULL], epochs=2, validate_every=2)
        return replace(
            whole, market=market, profiles=profiles, ranker=ranker, name="market", runs=str(runs),
            conversion=replace(whole.conversion, user_buckets=options.users),
            data=replace(whole.data, path=str(runs / "log")),
        )  # fmt: skip

    return configure


def _speed(model: Path) -> dict[str, Any]:
    told = json.loads((model / "history.json").read_text(encoding="utf-8"))["epochs"]
    return {
        "examples": told[-1]["examples"],
        "examples_per_second": round(told[-1]["targets_per_second"]),
        "auc": round(told[-1]["valid/auc"], 4),
        "server_bytes": [told[-1][name] for name in sorted(told[-1]) if name.endswith("/bytes")],
    }


def _serve(folder: Path, model: Path, config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from trainer.requests import export

    out = folder / "export" / "choirrec"
    shutil.rmtree(out, ignore_errors=True)
    export.run(folder / "requests", model, out, config.export)
    exported = conversion.newest(out)
    names = [USER_ID, CANDIDATES, *(feature.name for feature in exported.features)]
    held = requests.read_rows(folder / "requests", "test", names)
    items = sorted({item for row in held[CANDIDATES].to_pylist() for item in row})
    draw = np.random.default_rng(1)
    asked: list[Asked] = []
    for place in draw.choice(len(held), min(len(held), options.requests), replace=False):
        (row,) = held.slice(int(place), 1).to_pylist()
        known = {name: value for name, value in row.items()
                 if name not in (USER_ID, CANDIDATES) and not name.startswith((CODE, PRIOR))}  # fmt: skip
        asked.append((row[USER_ID], known, draw.choice(items, options.candidates, replace=False).tolist()))
    found: dict[str, Any] = {}
    with (
        serve_folder(out) as server,
        Client(server["grpc"], MODEL) as client,
        conversion.open_groups(folder / "priors", exported) as groups,
    ):
        for name, service in (("online", Conversions(client, groups, exported)),
                              ("without_groups", Conversions(client, None, exported))):  # fmt: skip
            for clients in options.clients:
                found[f"{name}_{clients}"] = _latency(service, asked, clients)
    return found


def _latency(service: Conversions, asked: Sequence[Asked], clients: int) -> dict[str, Any]:
    """Of all requests, asked by so many threads that each wait for their answer."""

    def ask(one: Asked) -> tuple[float, bool]:
        start = time.perf_counter()
        answer = service.predict(*one)
        return (time.perf_counter() - start) * 1000, answer.groups == READ

    for one in asked[:WARM]:
        ask(one)
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = list(tqdm(pool.map(ask, asked), f"{clients} clients", len(asked), unit="request", delay=2))
    seconds = time.perf_counter() - start
    p50, p99 = np.percentile([each for each, _ in taken], (50, 99))
    return {"p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "requests_per_second": round(len(asked) / seconds, 1),
            "groups_read": sum(read for _, read in taken)}  # fmt: skip
