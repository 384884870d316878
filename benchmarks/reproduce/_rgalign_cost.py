"""What RGAlign-Rec's rows are thought to take, from what a few texts took."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.config import load
from benchmarks.reproduce._rgalign_rows import CONFIGS, ORACLE, WRITTEN, Row

TOKENS = 280
"""Of a session's prompt, the mean over 1,007 sessions in the words of configs/chatbot.yaml."""
READ, WRITE, TUNE = 0.00066, 0.2, 0.0024
"""Processor seconds of SmolLM2 in bfloat16 on one thread: to read a token, over 6,168 sessions; to write a query, over
2,100 of them; to learn from a token once, over 658 sessions in two epochs of RG-SFT."""
SESSIONS, TRAINED = 1.007, 0.56
"""A user's sessions that have a label, and the share of these that are to train on: of 1,000 users."""
RANKER = 40.0
"""Processor seconds of a ranker's training and of its evaluation, the mean of three."""


def hours(rows: Sequence[Row], cores: int = 2) -> float:
    """On so many free cores."""
    config = load(CONFIGS / "chatbot.yaml")
    align, sessions = config.align, config.chat.simulate.users * SESSIONS
    learnt = min(align.limit or sessions, sessions * TRAINED)
    asked = {(row.reasoner, row.tuning) for row in rows if row.model != ORACLE}
    written = [one for one in asked if "query" in one[0]]
    read = TOKENS * READ
    seconds = len(asked) * sessions * read + len(written) * sessions * WRITE
    tuned = {(reasoner.removesuffix(WRITTEN), tuning) for reasoner, tuning in asked if tuning}
    if tuned:
        drawn = sum(each.samples for each in align.teachers.values() if each.kind in ("self", "model"))
        seconds += learnt * (read + WRITE) * drawn
        strategies = {(reasoner.split("-")[0], reasoner.endswith("-slow"), tuning) for reasoner, tuning in tuned}
        once = learnt * TOKENS * TUNE
        seconds += len(strategies) * align.sft.epochs * once
        for reasoner, _ in tuned:
            passes = {"cl": 1, "scl": 1, "slow": 1, "part": 1, "dpo": 2, "sft": 0}[reasoner.split("-")[1]]
            seconds += align.refinement.epochs * passes * once
        seconds += align.folds * RANKER
    return (seconds + len(rows) * RANKER) / cores / 3600
