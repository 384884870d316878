import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from feature_store import reasoner_prompt
from llm_offline.alignment.reasoner import Reasoner, query_prompt, reasoner_id, session_prompt

CONTEXTS = ["order shipped, 9 days ago", "card failed", "order shipped, 9 days ago"]


def states(chat_llm, context, end=""):
    """The plain model's states over a session's prompt in the chat format."""
    tokenizer = AutoTokenizer.from_pretrained(chat_llm)
    text = f"<user>{reasoner_prompt.SYSTEM}<user>{reasoner_prompt.about_session(context)}<bot>{end}"
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        return AutoModel.from_pretrained(chat_llm)(input_ids=ids).last_hidden_state[0].numpy()


@pytest.mark.parametrize(
    ("pooling", "end", "pool"),
    [("last", "", lambda h: h[-1]), ("mean", "", lambda h: h.mean(0)), ("eos", "<end>", lambda h: h[-1])],
)
def test_a_vector_is_the_pooled_states_of_the_prompt_before_anything_is_written(settings, chat_llm, pooling, end, pool):
    reasoner = Reasoner(settings(pooling=pooling, normalize=False))
    vectors, queries = reasoner.of_sessions(CONTEXTS)
    assert queries == ["", "", ""]
    np.testing.assert_allclose(vectors[1], pool(states(chat_llm, CONTEXTS[1], end)), atol=1e-4)
    assert (vectors[0] == vectors[2]).all() and (vectors[0] != vectors[1]).any()


def test_a_query_stands_in_the_same_place_of_its_prompt_as_a_session(settings):
    reasoner = Reasoner(settings())
    ids = [reasoner._ids(prompt) for prompt in map(reasoner_prompts, ("session", "query"))]
    tail = len("The customer's question is:") + 1
    assert ids[0][-tail:] == ids[1][-tail:]
    vectors = reasoner.of_queries(["where is it", "refund", "where is it"])
    assert vectors.shape == (3, 16) and (vectors[0] == vectors[2]).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_what_it_remembers_is_what_every_sessions_prompt_begins_with(settings):
    reasoner = Reasoner(settings())
    remembered = reasoner._embedder._beginning
    assert len(remembered.tokens) > 16
    for context in (*CONTEXTS, "User Profile: Region: MY", "7 days"):
        assert remembered.starts(reasoner._ids(session_prompt(context)))
    assert not remembered.starts(reasoner._ids(query_prompt("refund")))


def reasoner_prompts(kind):
    return session_prompt("card failed") if kind == "session" else query_prompt("refund")


def test_the_ablation_embeds_what_is_written_with_a_sentence_encoder(settings):
    from llm_offline.embedder import Embedder

    config = settings(vector="query")
    reasoner = Reasoner(config)
    vectors, queries = reasoner.of_sessions(CONTEXTS)
    assert all(queries) and vectors.shape == (3, 384)
    encoder = Embedder(config.encoder)
    np.testing.assert_allclose(vectors, encoder.encode(queries), atol=1e-5)
    np.testing.assert_allclose(reasoner.of_queries(["a refund"]), encoder.encode(["a refund"]), atol=1e-5)


def test_the_id_names_what_a_vector_depends_on(settings):
    kinds = [settings(), settings(pooling="mean"), settings(vector="query"), settings(max_tokens=900)]
    assert len(set(map(reasoner_id, kinds))) == 4
    assert reasoner_id(settings(batch_tokens=8192)) == reasoner_id(settings())
    assert f"prompt={reasoner_prompt.prompt_id()}" in reasoner_id(settings())
