"""One round of retraining: what it starts from, and its folder, which is laid out as a run's."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon import records, runner, stages, work
from antiphon.config import Config, dump
from antiphon.retraining.state import Places, State
from antiphon.stages import Stage


@dataclass(frozen=True)
class Round:
    """
    Attributes:
        config: of the run. state: before the round. held: descriptor of the lock on retraining.
        here: whether its stages are done in this process; else each is one of its own.
    """

    config: Config
    places: Places
    state: State
    held: int
    here: bool = False

    @property
    def number(self) -> int:
        """Also the number of the version that it makes."""
        return self.state.round + 1

    @property
    def folder(self) -> Path:
        return self.places.round(self.number)

    @property
    def config_file(self) -> Path:
        """`own`, once a stage was done."""
        return self.folder / "config.yaml"

    @property
    def parent(self) -> Path | None:
        """The stable version's model, which a warm round starts from."""
        warm = self.config.retrain.start == "warm" and self.state.stable
        return self.places.model(self.state.stable) if warm else None

    @property
    def own(self) -> Config:
        """The round's config, of one variant. Its time split is of the events after the watermark; all before train."""
        settings, variant = self.config.retrain, self.places.variant
        train = self.config.variants[variant]
        if self.parent is not None:
            train = replace(
                train,
                start_from=str(self.parent),
                epochs=settings.epochs or train.epochs,
                pretrain=replace(train.pretrain, epochs=0),
            )
        examples = replace(self.config.examples, split="global_time", served_log=self._served_log)
        if self.state.watermark:
            examples = replace(
                examples,
                after=self.state.watermark,
                valid_quantile=settings.valid_quantile,
                test_quantile=settings.test_quantile,
            )
        return replace(
            self.config,
            name=self.folder.name,
            runs=str(self.folder.parent),
            examples=examples,
            variants={variant: train},
            retrain=replace(settings, variant=variant),
        )

    @property
    def _served_log(self) -> str:
        """The log that examples are made of: `examples.served_log`, or the server's own once that has written one."""
        own = self.config.serve.served_log
        return self.config.examples.served_log or (own if own and Path(own).is_dir() else "")

    def views(self) -> dict[str, Path]:
        """The knowledge views that users are looked up in, for ``serving``, the stable version, and ``candidate``. What
        a language model told that was trained along is a version's own; a source of knowledge is one for both."""
        variant, found = self.places.variant, work.view_folder(self.own, self.places.variant)
        if found is None:
            return {}
        own = self.own.variants[variant].coco.live
        stable = self.places.model(self.state.stable) / found.name if own else found
        return {"serving": stable, "candidate": found}

    def stages(self) -> list[Stage]:
        """Those of a run that training needs, in their order, ingest first and training last."""
        plan = {stage.name: stage for stage in stages.plan(self.own)}
        wanted = [f"train-{self.places.variant}"]
        for name in wanted:
            wanted += [need for need in plan[name].needs if need not in wanted]
        return [stage for stage in plan.values() if stage.name in wanted]

    def do(self, stage: Stage) -> None:
        """The stage, unless what it made holds."""
        if not self.here:
            runner.run_stages(self.own, [stage], skip=True)
        elif not stages.holds(self.own, stage):
            records.write_text(self.config_file, dump(self.own))
            stages.do(self.own, stage)

    def result(self, step: str) -> dict[str, Any]:
        """What a finished step of this round came to."""
        return json.loads(self.marker(step).read_text(encoding="utf-8"))

    def marker(self, step: str) -> Path:
        """The file that says that a step is done, and what it came to."""
        return self.folder / "steps" / f"{step}.json"
