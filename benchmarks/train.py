"""Training speed of our SASRec beside RecBole 1.2.1's: `antiphon bench train`.

Same data (Amazon Beauty, leave-one-out), width 64, 2 blocks, 1 head, length 50, dropout, full-softmax
cross-entropy, Adam, rows in a batch, cores. A target is one item that one position predicts: RecBole makes a
row of each, we predict all of a window's at once. First both train in turns, then each alone until it ranks
the test items well enough.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import _data, _machine
from benchmarks._recbole import RecBole, environment
from trainer.config import LossConfig, ModelConfig, OptimizerConfig, TrainConfig

CONFIG = Path(__file__).parents[1] / "configs" / "beauty_sasrec.yaml"
MODEL = ModelConfig(d=64, blocks=2, heads=1, max_length=50, dropout=0.6)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    default_data = _data.folder() / "amazon_beauty"
    parser = argparse.ArgumentParser(prog="antiphon bench train", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=default_data, help="folder of S3-Rec sequences (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_train"), help="scratch folder (%(default)s)"
    )
    parser.add_argument(
        "--environment", type=Path, default=Path(".venv-recbole"), help="RecBole's (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns each takes (%(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=4, help="our epochs in a turn, first not counted (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=40, help="RecBole's time in a turn (%(default)s)")
    parser.add_argument("--batch", type=int, default=512, help="rows in a batch, of both (%(default)s)")
    parser.add_argument("--ndcg", type=float, default=0.055, help="NDCG@10 on test to reach (%(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=90, help="cap on each's training time; 0 skips (%(default)s)"
    )
    parser.add_argument("--users", type=int, default=0, help="only the first so many users; 0 is all")
    parser.add_argument(
        "--quick", action="store_true", help="a minute or two on 2,000 users, to see that it works"
    )
    options = parser.parse_args(argv)
    if options.quick:
        options.users, options.rounds, options.epochs, options.seconds, options.minutes = 2000, 2, 2, 5, 0.2
    return options


def main(argv: Sequence[str]) -> int:
    """Run the comparison; the last line is its figures as JSON."""
    options = parse(argv)
    python = environment(options.environment)
    shutil.rmtree(options.out, ignore_errors=True)
    data = prepare(options)
    train = TrainConfig(
        batch=options.batch, epochs=1, patience=0, model=MODEL, loss=LossConfig("softmax"),
        optimizer=OptimizerConfig("adam", 1e-3),
    )  # fmt: skip
    settings = {
        "sequences": str((data / "sequences.json").resolve()), "d": MODEL.d, "inner": MODEL.d,
        "blocks": MODEL.blocks, "heads": MODEL.heads, "length": MODEL.max_length,
        "dropout": MODEL.dropout, "batch": options.batch,
        "learning_rate": 1e-3, "threads": len(os.sched_getaffinity(0)), "seed": train.seed,
    }  # fmt: skip
    with RecBole(python, settings) as recbole:
        figures = speed(options, train, recbole)
    if options.minutes:
        figures["ours"]["to_ndcg"] = our_way(options, train)
        with RecBole(python, settings) as recbole:
            figures["recbole"] |= {
                "to_ndcg": time_to(recbole.reach(options.ndcg, options.minutes)["epochs"], options)
            }
    asked = {
        "rounds": options.rounds,
        "batch": options.batch,
        "users": options.users or "all",
        "ndcg": options.ndcg,
    }
    print(json.dumps({"benchmark": "train", "machine": _machine.describe(), "settings": asked, **figures}))
    return 0


def prepare(options: argparse.Namespace) -> Path:
    """The sequences as JSON for RecBole, and as training examples for us; both of the same users."""
    data = options.out / "data"
    data.mkdir(parents=True)
    (text,) = sorted([*options.data.glob("*.txt"), *options.data.glob("*.txt.gz")])
    content = gzip.decompress(text.read_bytes()) if text.suffix == ".gz" else text.read_bytes()
    lines = [line.split() for line in content.decode().splitlines()][: options.users or None]
    (data / f"{text.name.split('.')[0]}.txt").write_text("".join(" ".join(line) + "\n" for line in lines))
    (data / "sequences.json").write_text(json.dumps({user: items for user, *items in lines}))
    shutil.copy(options.data / "items.parquet", data)
    override = [f"runs={options.out}", "name=run", f"data.path={data}", "examples.windows=all"]
    for stage in ("ingest", "features", "examples"):
        sets = [part for text in override for part in ("--set", text)]
        command = [sys.executable, "-m", "antiphon.cli", stage, "-c", str(CONFIG), *sets]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return data


def ours(options: argparse.Namespace, train: TrainConfig, model: str, test: bool = False) -> dict[str, Any]:
    """Our training stage up to `train.epochs`, in its own process; it goes on from its last checkpoint."""
    command = [sys.executable, "-m", "benchmarks._antiphon_sasrec", options.out / "run" / "examples",
               options.out / model, json.dumps(asdict(train))]  # fmt: skip
    command += [options.out / f"{model}_evaluation"] if test else []
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def speed(options: argparse.Namespace, train: TrainConfig, recbole: RecBole) -> dict[str, Any]:
    """Both in turns; the medians of the turns, and their ratio."""
    rates: dict[str, list[float]] = {"ours": [], "recbole": []}
    recbole.train(min(options.seconds, 10))  # first batches are slow
    for number in range(1, options.rounds + 1):
        done = ours(options, replace(train, epochs=number * options.epochs), "speed")["epochs"]
        counted = done[-options.epochs + 1 :]  # a process's first epoch holds its tracing
        targets = sum(epoch["targets_per_second"] * epoch["seconds"] for epoch in counted)
        rates["ours"].append(targets / sum(epoch["seconds"] for epoch in counted))
        turn = recbole.train(options.seconds)
        rates["recbole"].append(turn["targets"] / turn["seconds"])
        print(f"turn {number}: ours {rates['ours'][-1]:,.0f}, RecBole {rates['recbole'][-1]:,.0f} targets/s",
              file=sys.stderr)  # fmt: skip
    medians = {name: statistics.median(found) for name, found in rates.items()}
    figures: dict[str, Any] = {
        name: {"targets_per_second": round(medians[name], 1), "turns": [round(rate, 1) for rate in found]}
        for name, found in rates.items()
    }
    return figures | {"ratio": round(medians["ours"] / medians["recbole"], 2)}


def our_way(options: argparse.Namespace, train: TrainConfig) -> dict[str, Any]:
    """Five epochs at a time until the checkpoint that validation picks reaches the mark on test."""
    epochs: list[dict[str, float]] = []
    while not epochs or epochs[-1]["train_seconds"] < 60 * options.minutes:
        done = ours(options, replace(train, epochs=5 * (len(epochs) + 1)), "quality", test=True)
        seconds = sum(epoch["seconds"] for epoch in done["epochs"])
        found = done["metrics"]["ndcg@10"]["mean"]
        epochs.append({"train_seconds": seconds, "ndcg@10": found, "epochs": len(done["epochs"])})
        if found >= options.ndcg:
            break
    return time_to(epochs, options)


def time_to(epochs: Sequence[dict[str, float]], options: argparse.Namespace) -> dict[str, Any]:
    """When the mark was reached, in minutes of training alone; where it was not, how far it got."""
    last = epochs[-1]
    reached = last["ndcg@10"] >= options.ndcg
    return {
        "reached": reached,
        "training_minutes": round(last["train_seconds"] / 60, 2),
        "epochs": int(last.get("epochs", len(epochs))),
        "ndcg@10": round(last["ndcg@10"], 4),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
