"""A stage of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antiphon.work import Work


@dataclass(frozen=True)
class Stage:
    """One stage of one run.

    Attributes:
        name: "ingest", "train-ids".
        command: how the command line names it: ("train", "--variant", "ids").
        needs: names of the stages it builds on.
        settings: the part of the config it reads.
        products: what it leaves in the run's folder.
        work: does it; returns a summary that JSON can write.
        identity: for a stage that can go on where it stopped, what must be the same for that; else None.
        version: raise it when the same settings come to give another output.
        grace: seconds it may need to end in good order when it is told to.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...]
    settings: Any
    products: tuple[str, ...]
    work: Work
    identity: Work | None = None
    version: int = 1
    grace: float = 0.0
