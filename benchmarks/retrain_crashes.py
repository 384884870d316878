"""The crash matrix of `antiphon retrain`: killed after any of its steps and run again, does it end in the same state?

The example shop gets its orders in two files. A round on the first makes a stable version. The round on both is done
unbroken once. It is also done with the process killed (SIGKILL, by itself) after each step in turn: what it leaves then
is copied, and `antiphon retrain` of the copy is run to its end. Each end is compared with that of the unbroken round:
the state, the model config file, the published versions, tables and examples by hash, the decision with every figure
but seconds and bytes. Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from antiphon.config import load
from antiphon.retraining.run import step_names
from benchmarks import _machine, _retrain_shop
from feature_store.checks import require


def run(folder: Path, steps: Sequence[str] = (), here: bool = False) -> dict[str, Any]:
    """Tries a kill after each of ``steps``; returns the states tried, and those that came to differ.

    Args:
        steps: of a round; () is all of them.
        here: each round's stages are done in the process that is killed, in place of processes of their own.
    """
    start = time.monotonic()
    base, chain = folder / "base", folder / "chain"
    config = load(_retrain_shop.make(base), [f"runs={base / 'runs'}"])
    every = step_names(config)
    require(set(steps) <= set(every), "--steps", f"must be of {', '.join(every)}", ",".join(steps))
    steps = [step for step in every if step in (steps or every)]
    _retrain_shop.arrive(base, 0)
    _retrain_shop.retrain(base / "shop.yaml", here=here)
    _retrain_shop.arrive(base, 1)
    unbroken = shutil.copytree(base, folder / "unbroken")
    _retrain_shop.retrain(unbroken / "shop.yaml", here=here)
    expected = _retrain_shop.snapshot(unbroken)
    shutil.copytree(base, chain)
    differing = {}
    for step in tqdm(steps, desc="kill after"):
        _retrain_shop.retrain(chain / "shop.yaml", step, here)
        tried = shutil.copytree(chain, folder / step)
        _retrain_shop.retrain(tried / "shop.yaml", here=here)
        found = _retrain_shop.snapshot(tried)
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        if wrong:
            differing[step] = wrong
    return {
        "benchmark": "retrain_crashes",
        "states_tried": len(steps),
        "states_equal": len(steps) - len(differing),
        "steps": steps,
        "here": here,
        "differing": differing,
        "seconds": round(time.monotonic() - start, 1),
        "machine": _machine.describe(),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench retrain_crashes", description=__doc__)
    parser.add_argument("--steps", default="", metavar="STEP,STEP,...", help="kill after these alone")
    parser.add_argument("--folder", type=Path, help="where to work, empty; without it a temporary folder")
    parser.add_argument("--here", action="store_true", help="a round is one process, its stages in it: faster")
    options = parser.parse_args(arguments)
    steps = options.steps.split(",") if options.steps else ()
    with tempfile.TemporaryDirectory() as temporary:
        result = run(options.folder or Path(temporary), steps, options.here)
    print(json.dumps(result))
    return int(result["states_equal"] != result["states_tried"])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
