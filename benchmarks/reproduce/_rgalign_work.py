"""Do RGAlign-Rec's rows: what several of them need, from the log to a reasoner's vectors, is made once for all.

    rgalign_log/, rgalign/{sessions,intents,session_texts,knowledge/intent_text}   the world
    rgalign/queries/<reasoner>, requests/<reasoner>     what a reasoner wonders; the rankers' requests with that
    rgalign/models/<ranker>-<trained on>-<seed>, evaluation/<row>, rows/<row>.json
    rgalign/judges, candidates, vectors, intent_vectors, rewards              of the published reasoner
    rgalign/{agreement,meaning,contrast}.json   of its rewards, of what was chosen by them, of what RG-CL has to go by
    rgalign/best/<strategy>, tuned/<strategy>-<seed>/{sft,cl,printed,part,dpo}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from antiphon import chat_ranker, chatbot, records
from antiphon.align import questioned
from antiphon.config import Config
from beam_jobs import queries as query_job
from benchmarks.reproduce import _rgalign_contrast, _rgalign_meaning, _rgalign_probe, _rgalign_rewards
from benchmarks.reproduce._once import made_with, once, read
from benchmarks.reproduce._rgalign_rows import (
    BARE,
    BASELINE,
    METRICS,
    ORACLE,
    PLACED,
    PROBE,
    QE,
    RAW,
    WITHOUT,
    WRITTEN,
    Row,
    ranker,
    reasoner,
)  # fmt: skip
from feature_store import folders
from feature_store.datasets.chatbot import simulate
from llm_offline.alignment import best_of_n, candidates, refinement
from llm_offline.alignment.teachers import teacher
from trainer import train
from trainer.requests import evaluate as request_evaluate
from trainer.requests import oracle as request_oracle

Configure = Callable[[Path], Config]


class World:
    """What lies in one folder of runs; every method makes what is not there with these settings, and what that needs.

    `folders.version` of what a step was made of is among its settings, so that a change goes as far as it makes
    something else, and no farther.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.folder = config, config.folder

    def sessions(self) -> Path:
        """The simulated log, checked and in words."""
        log, chat = Path(self.config.chat.path), self.config.chat
        once(log, asdict(chat.simulate), lambda: simulate.run(chat.simulate, log))
        texts = self.folder / "session_texts"
        settings = [folders.version(log), asdict(chat.intents), chat.test_days, chat.valid_days, asdict(chat.words)]
        once(texts, settings, lambda: chatbot.ingest(self.config))
        told = self.folder / "knowledge" / "intent_text"
        base = folders.version(self.folder / "intents")
        once(told, [base, asdict(self.config.embed)], lambda: chatbot.embed(self.config))
        return texts

    def queries(self, row: Row) -> Path:
        """What the row's reasoner wonders about each session."""
        texts, out, settings = self.sessions(), self.folder / "queries" / row.asked, reasoner(self.config, row)
        mine = self.tuned(row) if row.tuning else None
        made_of = [folders.version(texts), asdict(settings), folders.version(mine) if mine else ""]
        work = partial(query_job.of_sessions, texts, out, settings, self.config.beam, mine)
        once(out, made_of, work, resumes=True)
        return out

    def requests(self, row: Row) -> Path:
        """The sessions as requests, with that."""
        asked, out, chat = self.queries(row), self.folder / "requests" / row.asked, self.config.chat
        made_of = [folders.version(part) for part in (self.folder / "sessions", self.folder / "intents", asked)]
        made_of += [folders.version(self.folder / "knowledge" / "intent_text"), chat.candidates, chat.text_buckets]

        def work() -> dict[str, Any]:
            made = chatbot.write_requests(self.config, out, asked)
            return {split: told["examples"] for split, told in made["splits"].items()}

        once(out, made_of, work)
        return out

    def model(self, row: Row) -> Path:
        """The row's ranker, trained."""
        row = replace(row, model=QE) if row.model == PLACED else row
        plain = Row(row.model, seed=row.seed) if row.trained_on == RAW else row
        asked, out = self.requests(plain), self.folder / "models" / f"{row.model}-{row.trained_on}-{row.seed}"
        settings = ranker(self.config, row)
        made_of = [folders.version(asked), asdict(settings)]
        once(out, made_of, lambda: _trained(train.run(asked, None, out, settings)), resumes=True)
        return out

    def evaluation(self, row: Row) -> Path:
        """The row's, on the test split."""
        out, judge = self.folder / "evaluation" / row.name, self.config.judge
        if row.model == ORACLE:
            asked = self.requests(Row(QE))
            made_of = [folders.version(asked), asdict(judge)]
            once(out, made_of, lambda: _silent(request_oracle.run(asked, self._truth, out, judge)))
            return out
        asked = self.requests(row)
        if row.model == PROBE:
            select = self.config.rankers[QE].select
            made_of = [folders.version(asked), asdict(judge), select]
            once(out, made_of, lambda: _silent(_rgalign_probe.run(asked, out, judge, select)))
            return out
        model = self.model(row)
        known = None if row.calibrated or row.model == PLACED else self.requests(Row(QE))
        made_of = [made_with(model)["settings"], folders.version(asked), asdict(judge)]
        work = partial(request_evaluate.run, asked, model, out, judge, trained_on=known)
        once(out, made_of, lambda: _silent(work()))
        return out

    def judges(self) -> Path:
        """QE-Rec as it is trained first, and one without each fold."""
        first = Row(QE)
        asked, whole, out = self.queries(first), self.model(first), self.folder / "judges"
        config = self._with_rankers(first)
        made_of = [folders.version(asked), config.align.folds, chat_ranker.settings(config)]
        work = partial(chat_ranker.train, config, asked, out, (self.requests(first), whole))
        once(out, made_of, work, resumes=True)
        return out

    def candidates(self) -> Path:
        """What every teacher writes; the ranker's questions are the judges'."""
        texts, judges, align, out = self.sessions(), self.judges(), self.config.align, self.folder / "candidates"
        asked = {name: asdict(settings) for name, settings in align.teachers.items()}
        made_of = [folders.version(texts), folders.version(judges), asdict(align.reasoner), asked, align.limit]

        def work() -> dict[str, Any]:
            asked = questioned(self.config, judges, self.folder)
            teachers = {name: teacher(settings, align.reasoner) for name, settings in asked.items()}
            return candidates.run(texts, out, teachers, align.own, limit=align.limit)

        once(out, made_of, work, resumes=True)
        return out

    def vectors(self) -> tuple[Path, Path]:
        """Of the candidates and of the intents, by the reasoner as published."""
        texts, written, align, beam = self.sessions(), self.candidates(), self.config.align, self.config.beam
        ours, theirs = self.folder / "vectors", self.folder / "intent_vectors"
        made_of = [folders.version(written), asdict(align.reasoner)]
        once(ours, made_of, lambda: query_job.of_candidates(written, ours, align.reasoner, beam), resumes=True)
        made_of = [folders.version(texts), asdict(align.reasoner)]
        once(theirs, made_of, lambda: query_job.of_intents(texts, theirs, align.reasoner, beam), resumes=True)
        return ours, theirs

    def rewards(self) -> Path:
        """Of the candidates, and how far they agree with the truth."""
        written, (vectors, _), judges, out = self.candidates(), self.vectors(), self.judges(), self.folder / "rewards"
        placed = self.config.align.place
        made_of = [*(folders.version(part) for part in (written, vectors, judges)), placed]
        once(out, made_of, lambda: chat_ranker.reward(self.config, written, vectors, judges, out))
        file = self.folder / "agreement.json"
        made_of = [*(folders.version(part) for part in (out, vectors, judges)), placed]
        once(file, made_of, lambda: _rgalign_rewards.agreement(out, judges, vectors, self._truth, file, placed))
        return out

    def meaning(self) -> Path:
        """How often what is chosen means what was truly wanted."""
        written, rewards, base = self.candidates(), self.rewards(), self.folder / "intents"
        best = {strategy: self.best(strategy) for strategy in ("v1", "v2")}
        file = self.folder / "meaning.json"
        made_of = [folders.version(part) for part in (written, rewards, base, *best.values())]
        once(file, made_of, lambda: _rgalign_meaning.meaning(written, rewards, best, base, self._truth, file))
        return file

    def best(self, strategy: str) -> Path:
        """What a strategy chooses to learn from."""
        texts, written, rewards, (ours, theirs) = self.sessions(), self.candidates(), self.rewards(), self.vectors()
        align, out = self.config.align, self.folder / "best" / strategy
        made_of = [folders.version(part) for part in (texts, written, rewards, ours, theirs)]
        made_of += [align.margins, align.pairs, align.any_length, list(align.preferred)]
        work = partial(best_of_n.run, texts, written, rewards, out, strategy, align.preferred, align.margins,
                       align.any_length, ours, theirs, align.pairs)  # fmt: skip
        once(out, made_of, work)
        return out

    def contrast(self) -> Path:
        """What RG-CL has to tell queries apart by that V2 chose."""
        texts, best, vectors, asked = self.sessions(), self.best("v2"), self.vectors()[0], self.queries(Row(QE))
        file = self.folder / "contrast.json"
        made_of = [folders.version(part) for part in (texts, best, vectors, asked)]
        once(file, made_of, lambda: _rgalign_contrast.contrast(texts, best, vectors, asked, file))
        return file

    def tuned(self, row: Row) -> Path:
        """The adapter of the row's reasoner."""
        strategy, objective = row.reasoner.removesuffix(WRITTEN).split("-")
        here, seed = self.folder / "tuned" / f"{strategy}-{row.tuning}", {"seed": row.tuning}
        align, best = self.config.align, self.best(strategy)
        sft = self._tune("sft", best, here / "sft", replace(align.sft, **seed), None)
        if objective == "sft":
            return sft
        settings = replace(align.refinement, gather=objective != "part", **seed)
        even = align.standardise and objective in ("cl", "part")
        asked = self.queries(Row(QE)) if even else None
        return self._tune("dpo" if objective == "dpo" else "cl", best, here / objective, settings, sft, asked)

    def _tune(
        self, objective: str, best: Path, out: Path, settings: Any, start: Path | None, asked: Path | None = None
    ) -> Path:
        texts, written, align = self.sessions(), self.candidates(), self.config.align
        vectors = self.vectors()[0] if objective == "cl" else None
        made_of = [folders.version(part) for part in (texts, written, best, vectors, start, asked) if part]
        made_of += [objective, settings.kept(), asdict(align.reasoner)]
        parts = (texts, written, best, vectors, out, align.reasoner, settings, start, asked)
        once(out, made_of, lambda: refinement.run(objective, *parts), resumes=True)
        return out

    @property
    def _truth(self) -> Path:
        return Path(self.config.chat.path) / "truth" / "truth.parquet"

    def _with_rankers(self, row: Row) -> Config:
        return replace(self.config, rankers={**self.config.rankers, self.config.chat.reward: ranker(self.config, row)})


def do(row: Row, runs: Path, configure: Configure) -> dict[str, Any]:
    """The row's metrics on the test split, also in ``rows/<row>.json``; what of it is done is not done again."""
    world = World(configure(runs))
    out = world.evaluation(row)
    told = read(out / "metrics.json")["test"]["overall"]
    found = {"test": {metric: told[metric] for metric in METRICS}, "requests": told["requests"], "users": told["users"]}
    if row.model not in (ORACLE, BASELINE, BARE, WITHOUT):
        asked = folders.read_manifest(world.queries(row), hashes=False)
        found["query"] = {name: asked[name] for name in ("model_id", "adapter_version")}
        terms = request_evaluate.read(out)[0].told.get("intent_query")
        found["query"] |= {} if terms is None else {"same": _same(terms)}
    if row.tuning:
        world.contrast()
        world.meaning()
    records.write_text(world.folder / "rows" / f"{row.name}.json", records.to_json(found))
    return found


def _trained(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary[name] for name in ("epochs", "best_epoch", "examples")}


def _silent(_: Any) -> None:
    """An evaluation tells of itself in its folder."""


def _same(terms: np.ndarray) -> float:
    """The share of a ranker's query terms cos(z_i, z_q) (R, N) that is the same in all R sessions and tells none apart:
    of what a session's terms differ by from their mean, squared, that of the mean over sessions."""
    apart = terms.astype(np.float64) - terms.mean(1, keepdims=True)
    return float((apart.mean(0) ** 2).sum() / (apart**2).sum(1).mean())
