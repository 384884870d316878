"""Refresh mode: users per second of each job of a round, and the share of users that each round refreshes.

It runs `antiphon refresh` as a user does, on a run of its own that is removed at the end, and reads the record that the
command leaves. The language model's work depends on its size and on the text: the config says which.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import _machine


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="antiphon bench refresh", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/ml100k_refresh.yaml", help="its run")
    parser.add_argument("--variant", default="refresh", help="one with coco.refresh")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="the language model's first layer, an epoch a round")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="as of any command")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="antiphon-refresh-") as runs:
        changes = [f"runs={runs}", "name=bench", *options.set]
        if options.quick:
            changes += ["llm.layers=1", f"variants.{options.variant}.epochs=1"]
        command = [sys.executable, "-m", "antiphon.cli", "refresh", "-c", options.config, "--variant", options.variant]
        command += ["--rounds", str(options.rounds), *(part for change in changes for part in ("--set", change))]
        subprocess.run(command, check=True)
        rounds = json.loads((Path(runs) / "bench" / "models" / options.variant / "rounds.json").read_text())
    kept = ("round", "users", "refreshed", "share", "failed", "helped", "users_per_second", "seconds")
    kept += ("trained_examples_per_second",)
    told = [{name: one[name] for name in kept} for one in rounds]
    about = {"machine": _machine.describe(), "config": options.config, "quick": options.quick}
    print(json.dumps({**about, "rounds": told}))


if __name__ == "__main__":
    main()
