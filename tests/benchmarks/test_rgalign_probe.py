import chat_requests
import pytest

from benchmarks.reproduce import _rgalign_probe
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig


def test_the_probe_is_evaluated_as_a_model_is(tmp_path):
    requests = chat_requests.write(tmp_path / "r")
    told = _rgalign_probe.run(requests, tmp_path / "e", RequestEvaluateConfig(bootstrap=5), "ndcg@3")
    assert told["alpha"] in _rgalign_probe.ALPHAS
    assert told["test"]["overall"]["ndcg@3"]["mean"] == pytest.approx(told["valid"]["ndcg@3"], abs=0.3)
    scored, _ = request_evaluate.read(tmp_path / "e")
    assert scored.logits.shape == (60, 6) and not scored.told
    assert told["test"]["overall"]["ndcg@3"]["mean"] > 0.6  # a third by chance
