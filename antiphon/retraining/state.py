"""What retraining knows between rounds, and where it keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from antiphon import records
from antiphon.config import Config


@dataclass(frozen=True)
class State:
    """Moved in one step, as the last thing a round does.

    Attributes:
        round: the newest that is finished.
        watermark: the newest event that a round has seen, in microseconds; 0 before the first.
        stable: the version that is served; 0 before the first.
        before: versions that were stable, oldest first.
        sources: hash of the raw files' names, sizes and times of change, of the newest round.
    """

    round: int = 0
    watermark: int = 0
    stable: int = 0
    before: tuple[int, ...] = ()
    sources: str = ""

    def promoted(self, version: int) -> State:
        """With another stable version, from which there is a way back."""
        before = (*self.before, self.stable) if self.stable else self.before
        return replace(self, stable=version, before=before)

    def rolled_back(self) -> State:
        """With the version that was stable before."""
        return replace(self, stable=self.before[-1], before=self.before[:-1])


@dataclass(frozen=True)
class Places:
    """Where a run keeps what retraining makes: `runs/<name>/retrain`."""

    folder: Path
    variant: str

    @classmethod
    def of(cls, config: Config) -> Places:
        return cls(config.folder / "retrain", config.retrain.variant or next(iter(config.variants)))

    @property
    def served(self) -> Path:
        """The base path of the published versions."""
        return self.folder / "served" / self.variant

    @property
    def models_config(self) -> Path:
        """What the server's `--model_config_file` names."""
        return self.folder / "served" / "models.config"

    def round(self, number: int) -> Path:
        """A round's own folder, laid out as a run's."""
        return self.folder / "rounds" / f"{number:04d}"

    def model(self, number: int) -> Path:
        """What a round trained."""
        return self.round(number) / "models" / self.variant

    def candidate(self, number: int) -> Path:
        """A round's version before it is published."""
        return self.round(number) / "export" / self.variant / str(number)

    def read_state(self) -> State:
        path = self.folder / "state.json"
        if not path.is_file():
            return State()
        found = json.loads(path.read_text(encoding="utf-8"))
        return State(**{**found, "before": tuple(found["before"])})

    def write_state(self, state: State) -> None:
        records.write_text(self.folder / "state.json", records.to_json(asdict(state)))

    def decision(self, number: int) -> dict[str, Any] | None:
        """What a round came to; None where it is not finished."""
        path = self.round(number) / "decision.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
