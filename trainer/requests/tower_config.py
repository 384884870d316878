"""What a user sets about the towers of the chatbot's rankers (RGAlign-Rec)."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import above, at_least, one_of, require

TARGETS = ("normalized", "softmax")
"""What a list's clicks become: see trainer.listwise."""


@dataclass(frozen=True)
class TowerConfig:
    """Of the kinds ``qe_rec`` and ``two_towers``."""

    width: int = 64  # of the users', intents' and queries' vectors
    omega: float = 0.7  # ω of Eq. 4: the weight of user and intent, against that of intent and query
    query: str = "query"  # qe_rec: the feature that is the query's vector; "" has no query tower
    query_dropout: float = 0.0  # qe_rec: share of the training sessions whose query is withheld
    vector_dropout: float = 0.0  # qe_rec: of each number of the query's vector, before its one layer
    intent_text: bool = True  # whether the intent tower reads the vector of the intent's text
    crosses: int = 2  # qe_rec: layers of feature crossing in the intent tower
    heads: int = 2  # of each attention
    interactions: int = 2  # two_towers: AutoInt's layers
    experts: int = 4  # two_towers
    temperature: float = 0.1  # the cosines are divided by it
    learn_temperature: bool = True  # from there on
    target: str = "normalized"  # of the loss: see trainer.listwise
    confidence: bool = True  # whether samples are weighed by a confidence predictor
    entropy_floor: float = 0.9  # of the weights of a batch, against the uniform ones

    def __post_init__(self) -> None:
        for name in ("width", "heads", "interactions", "experts"):
            at_least(name, getattr(self, name), 1)
        at_least("crosses", self.crosses, 0)
        above("temperature", self.temperature, 0)
        one_of("target", self.target, TARGETS)
        for name in ("query_dropout", "vector_dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, name, "must be at least 0 and below 1", value)
        for name in ("omega", "entropy_floor"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, "must be from 0 to 1", value)
        require(self.width % self.heads == 0, "heads", f"must divide width ({self.width})", self.heads)
