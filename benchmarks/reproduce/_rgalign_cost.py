"""What RGAlign-Rec's rows are thought to take, from what each stage took before."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.config import load
from benchmarks.reproduce._rgalign_rows import CONFIGS, ORACLE, PLACED, PROBE, QE, WRITTEN, Row

TOKENS = 280
"""Of a session's prompt, the mean over 1,007 sessions in the words of configs/chatbot.yaml."""
READ, WRITE, TUNE = 0.00066, 0.15, 0.0026
"""Processor seconds of SmolLM2 in bfloat16 on one thread: to read a token, over 6,168 sessions; to write a query, over
as many; to learn from a token once, over 700 sessions in two epochs of RG-SFT and three of RG-CL."""
QUESTION = 0.06
"""Processor seconds to read a candidate query."""
SESSIONS, TRAINED = 1.007, 0.56
"""A user's sessions that have a label, and the share of these that are to train on: of 1,000 users."""
CHOSEN = {"v1": 1.0, "v2": 0.8, "v3": 0.32, "v4": 1.75}
"""Samples that a strategy chooses, of the sessions that candidates are written for."""
RANKER, EVALUATION = 55.0, 8.0
"""Processor seconds of a ranker's training, the mean of ten, and of an evaluation."""


def stages(rows: Sequence[Row]) -> dict[str, float]:
    """Processor seconds by stage, of what is made once for all rows."""
    config = load(CONFIGS / "chatbot.yaml")
    align, sessions = config.align, config.chat.simulate.users * SESSIONS
    learnt = min(align.limit or sessions, sessions * TRAINED)
    asked = {(row.reasoner, row.tuning) for row in rows if row.model != ORACLE}
    written = [one for one in asked if "query" in one[0]]
    read = TOKENS * READ
    trained = {(QE if row.model == PLACED else row.model, row.trained_on, row.seed) for row in rows
               if row.model not in (ORACLE, PROBE)}  # fmt: skip
    found = {
        "vectors of sessions": len(asked) * sessions * read + len(written) * sessions * WRITE,
        "rankers": len(trained) * RANKER,
        "evaluations": len(rows) * EVALUATION,
    }
    tuned = {(reasoner.removesuffix(WRITTEN), tuning) for reasoner, tuning in asked if tuning}
    if tuned:
        drawn = sum(each.samples for each in align.teachers.values() if each.kind in ("self", "model"))
        every = sum(each.samples for each in align.teachers.values())
        found["cross-fitted rankers"] = align.folds * RANKER
        found["candidates and their vectors"] = learnt * ((read + WRITE) * drawn + QUESTION * every)
        once = learnt * TOKENS * TUNE
        steps = {(reasoner.split("-")[0], tuning): align.sft.epochs for reasoner, tuning in tuned}
        seconds = sum(CHOSEN[strategy] * epochs * once for (strategy, _), epochs in steps.items())
        for reasoner, _ in tuned:
            strategy, objective = reasoner.split("-")
            passes = {"cl": 1, "printed": 1, "part": 1, "dpo": 2, "sft": 0}[objective]
            seconds += CHOSEN[strategy] * align.refinement.epochs * passes * once
        found["tuning"] = seconds
    return found


def hours(rows: Sequence[Row], cores: int = 2) -> float:
    """On so many free cores."""
    return sum(stages(rows).values()) / cores / 3600
