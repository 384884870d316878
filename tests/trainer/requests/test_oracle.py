import chat_requests
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.errors import DataError
from trainer.requests import evaluate as request_evaluate
from trainer.requests import oracle as request_oracle
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.input import Requests


def truth(folder, sure=0.9, leave=0):
    """The wanted intent has the chance ``sure``, the others share the rest."""
    others = chat_requests.INTENTS
    rows = [{"session_id": row["request_id"],
             "probabilities": [sure if name == row["candidates"][0] else (1 - sure) / 5 for name in others]}
            for row in chat_requests.rows(60, 2).to_pylist()]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows[leave:]), folder / "truth.parquet")
    return folder / "truth.parquet"


def test_the_oracle_is_evaluated_as_a_model_is(tmp_path):
    requests = chat_requests.write(tmp_path / "requests", train=20)
    request_oracle.run(requests, truth(tmp_path), tmp_path / "oracle", RequestEvaluateConfig(bootstrap=20))
    scored, _ = request_evaluate.read(tmp_path / "oracle")
    assert scored.labels.sum() == 60
    np.testing.assert_allclose(np.sort(scored.logits[0]), np.log([0.02 / 0.98] * 5 + [9.0]), rtol=1e-6)
    assert (scored.logits.argmax(1) == scored.labels.argmax(1)).all()


def test_a_request_without_truth_is_told(tmp_path):
    requests = Requests(chat_requests.write(tmp_path / "requests", train=20))
    with pytest.raises(DataError, match="has a probability of each of the 6 items for every request of the test"):
        request_oracle.scores(requests, truth(tmp_path, leave=1))
