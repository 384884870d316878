"""`antiphon bench ps --parts`: what each part gains, and what lazy Adam costs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from benchmarks._ps_race import race, write_examples
from benchmarks._ps_settings import Settings, Setup

FULL = Setup(working_set="on")  # a worker trains a call's steps on its own copies
OPTIMIZERS = "optimizers"
EVERY_STEP = Setup(working_set="off")  # a worker reads and updates the servers at every step


def parts(options: argparse.Namespace) -> dict[str, tuple[Setup, Setup]]:
    """For each part, the set-ups without it and with it; all else is the same."""
    size = {"ps": options.ps, "workers": options.workers}
    full, every_step = replace(FULL, **size), replace(EVERY_STEP, **size)
    several = replace(every_step, ps=max(2, options.ps))
    return {
        "working_set": (every_step, full),
        "unrolled_steps": (replace(full, unrolled=False), full),
        "fused_tables": (replace(full, fused=False), full),
        "bfloat16": (full, replace(full, wire="bfloat16")),
        "every_step_unique_ids": (replace(every_step, unique=False), every_step),
        "every_step_unrolled_steps": (replace(every_step, unrolled=False), every_step),
        "every_step_fused_tables": (replace(every_step, fused=False), every_step),
        "every_step_bfloat16": (every_step, replace(every_step, wire="bfloat16")),
        "every_step_prefetch": (every_step, replace(every_step, prefetch=True)),
        "every_step_spread_ids": (replace(several, spread=False), several),
    }


def measure(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """The speed of the set-up with each part over the one without, on a cluster; then the optimizers, in one process.

    Spread ids are measured on examples whose popular ids would all fall on one server.
    """
    found = {}
    for part, (without, with_it) in parts(options).items():
        if options.only and part not in options.only:
            continue
        here = settings
        if part == "every_step_spread_ids":
            here = replace(settings, file=f"{settings.file}_uneven")
            write_examples(here, options.seed, every=with_it.ps)
        entries = [("ours_cluster", without), ("ours_cluster", with_it)]
        found[part] = {
            case: {"without_and_with_examples_per_second": figures["examples_per_second"], **_ratio(figures)}
            for case, figures in race(part, entries, here, options).items()
        }
    asked = not options.only or OPTIMIZERS in options.only
    return {"parts": found, OPTIMIZERS: optimizers(settings, options) if asked else {}}


def optimizers(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Ours and stock in one process, one feature: Adam that moves the rows it reads, or all, over Adagrad."""
    settings = replace(settings, features=1, file=f"{settings.file}_one_feature")
    write_examples(settings, options.seed)
    found = {}
    for kind, adam in (("ours", "lazy_adam"), ("stock", "adam")):
        entries = [(f"{kind}_single", Setup()), (f"{kind}_single", Setup(optimizer=adam))]
        found[f"{kind}_{adam}_over_adagrad"] = {
            case: {f"adagrad_and_{adam}_examples_per_second": figures["examples_per_second"], **_ratio(figures)}
            for case, figures in race(f"{kind} {adam}", entries, settings, options).items()
        }
    return found


def _ratio(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("ratio", "ratios")}
