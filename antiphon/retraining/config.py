"""What a user sets about retraining."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import above, at_least, one_of, require


@dataclass(frozen=True)
class RetrainConfig:
    """See docs/operations.md, Retraining."""

    variant: str = ""  # the one of ``variants`` that is retrained; "" is the first
    start: str = "warm"  # from the stable version's weights | scratch
    epochs: int = 0  # of a warm round; 0 is as many as the variant has
    min_events: int = 1  # with fewer new events there is no round
    valid_quantile: float = 0.5  # of the new events' times: where validation begins
    test_quantile: float = 0.75  # and where the hold-out does, on which the gate decides
    metric: str = "ndcg@10"  # ndcg@5 | ndcg@10 | recall@5 | recall@10
    alpha: float = 0.05  # a candidate that is worse at this level of the paired test is refused
    max_loss: float = 0.1  # so is one that loses more than this share of the metric, whatever the test says
    max_segment_loss: float = 0.3  # or of it in one segment of users
    min_segment: int = 30  # a segment with fewer users has no say, nor has calibration over fewer
    max_calibration_loss: float = 0.1  # further than the stable version from the chances that items have, of 1
    min_recall: float = 0.98  # of the candidate's retrieval index at 50, against exact search
    max_size_ratio: float = 2.0  # the candidate's bytes over the stable version's; 0 is no limit
    max_latency_ratio: float = 3.0  # of the median time of a request, in process; 0 is no limit
    bootstrap: int = 1000  # resamples of the paired test
    keep: int = 3  # newest rounds whose tables, features and examples stay
    server: str = ""  # "host:port" of the server's gRPC port: a version's label waits until it is loaded there
    server_seconds: float = 300.0  # how long

    def __post_init__(self) -> None:
        one_of("start", self.start, ("warm", "scratch"))
        one_of("metric", self.metric, ("ndcg@5", "ndcg@10", "recall@5", "recall@10"))
        limits = ("max_loss", "max_segment_loss", "max_calibration_loss", "max_size_ratio", "max_latency_ratio")
        for name in ("epochs", *limits):
            at_least(name, getattr(self, name), 0)
        require(0 <= self.min_recall <= 1, "min_recall", "must be from 0 to 1", self.min_recall)
        for name in ("min_events", "min_segment", "bootstrap", "keep"):
            at_least(name, getattr(self, name), 1)
        above("valid_quantile", self.valid_quantile, 0)
        above("test_quantile", self.test_quantile, self.valid_quantile)
        require(self.test_quantile < 1, "test_quantile", "must be below 1", self.test_quantile)
        require(0 < self.alpha < 1, "alpha", "must be above 0 and below 1", self.alpha)
        above("server_seconds", self.server_seconds, 0)
