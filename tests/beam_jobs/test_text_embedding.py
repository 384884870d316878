import pyarrow as pa
import pytest

from beam_jobs.text_embedding import TextEmbedding
from llm_offline.config import EmbedConfig


def test_a_batch_gets_a_vector_a_text_in_its_order():
    handler = TextEmbedding(EmbedConfig(layers=1), "embed")
    model = handler.load_model()
    texts = ["a longer text about soap", "soap"]
    batch = pa.record_batch({"content_hash": ["x", "y"], "text": texts})
    (result,) = handler.run_inference(batch, model)
    assert result["content_hash"].to_pylist() == ["x", "y"]
    expected = model.encode(texts).tolist()
    assert result["vector"].to_pylist() == [pytest.approx(row, abs=1e-6) for row in expected]


def test_beam_does_not_batch_again():
    assert TextEmbedding(EmbedConfig(), "embed").should_skip_batching()
