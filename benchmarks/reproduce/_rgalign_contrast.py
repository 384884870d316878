"""What the contrastive loss has to tell targets apart by, before anything is tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from antiphon import records
from feature_store import alignment_tables
from feature_store.session_requests import QUERIES, vectors_of
from llm_offline.alignment import refinement
from llm_offline.alignment.losses import cosines
from llm_offline.alignment.objectives import Targets


def contrast(sessions: Path, best: Path, vectors: Path, asked: Path, out: Path) -> dict[str, Any]:
    """Writes and returns what `measured` says of the chosen queries' vectors and their sessions' states, ``raw`` and
    ``standardised``; the folders are those of `refinement.run`."""
    rows = alignment_tables.read(best, "best_of_n", "samples").to_pylist()
    raw = refinement.targets(rows, vectors)
    names, every = vectors_of(asked, QUERIES, ("session_id",))
    places = {name: n for n, name in enumerate(names)}
    states = torch.from_numpy(every[[places[row["session_id"]] for row in rows]])
    even = refinement.standardised(raw, sessions, asked, vectors)
    found = {name: measured(states, targets) for name, targets in
             (("raw", raw), ("standardised", even))}  # fmt: skip
    records.write_text(out, records.to_json(found))
    return found


def measured(states: torch.Tensor, targets: Targets) -> dict[str, float]:
    """Cosines of n states with targets: ``own`` the mean of those with their own, ``others`` with those of sessions of
    other intents, ``deviation`` that of the latter."""
    count = len(states)
    intents = targets.intents
    hidden = torch.tensor([[bool(one & other) for other in intents] for one in intents])
    near = cosines(targets.place(states), targets.vectors, torch.arange(count), hidden).numpy()
    others = near[~hidden.numpy() & ~np.eye(count, dtype=bool)]
    told = {"own": near.diagonal().mean(), "others": others.mean(), "deviation": others.std()}
    return {name: round(float(value), 4) for name, value in told.items()}
