import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llm_offline.config import EmbedConfig, EncoderConfig
from llm_offline.embedder import Embedder
from llm_offline.identity import embedding_id
from llm_offline.model_files import resolve

TEXTS = [
    "Lipstick",
    "Hair & body wash, 500 ml",
    "",
    "Lipstick",
    "A brush for the face with soft bristles, made of bamboo, in a linen bag",
    "ÄÖ 漢字 \U0001f9f4",
    "shampoo " * 100,
]


@pytest.fixture(scope="module")
def minilm():
    return Embedder(EmbedConfig())


@pytest.fixture(scope="module")
def smollm2(model_cache):
    return Embedder(EmbedConfig(model="smollm2", layers=2, pooling="last"))


def test_vectors_are_sentence_transformers_own(minilm):
    folder, _ = resolve("minilm")
    reference = SentenceTransformer(str(folder), device="cpu")
    reference.max_seq_length = minilm.config.max_tokens
    np.testing.assert_allclose(minilm.encode(TEXTS), reference.encode(TEXTS), atol=1e-5)


def test_order_and_duplicates_are_kept(minilm):
    vectors = minilm.encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((7, 384), np.float32)
    assert (vectors[0] == vectors[3]).all()
    np.testing.assert_allclose(minilm.encode(TEXTS[::-1]), vectors[::-1], atol=1e-5)


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_a_vector_does_not_depend_on_its_batch(name, request):
    embedder = request.getfixturevalue(name)
    texts = [text for text in TEXTS if text]
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(embedder.encode(texts), alone, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "eos"])
def test_a_beginning_that_is_remembered_changes_no_vector(model_cache, pooling):
    embedder = Embedder(EmbedConfig(model="smollm2", layers=2, pooling=pooling))
    head = embedder.tokenizer("What does a customer want who")["input_ids"]
    own = [embedder.tokenizer(text)["input_ids"] for text in (" asks", " has paid", " waits for a parcel, 9 days ago")]
    ids = [embedder.cut(row) for row in (*(head + row for row in own), *own, head[:-1], head)]
    plain = embedder.encode_tokens(ids)
    embedder.remember(head)
    np.testing.assert_allclose(embedder.encode_tokens(ids), plain, atol=1e-5)
    np.testing.assert_allclose(embedder.encode_tokens(ids[2:3]), plain[2:3], atol=1e-5)


def test_an_encoder_reads_all_of_a_text_at_once(minilm):
    head = minilm.tokenizer("What does a customer want who", add_special_tokens=False)["input_ids"]
    ids = [[*head, 2000], [*head, 2001, 2002]]
    plain = minilm.encode_tokens(ids)
    minilm.remember(head)
    assert (minilm.encode_tokens(ids) == plain).all()


def test_what_is_remembered_is_not_read_again(smollm2, monkeypatch):
    head, read = smollm2.tokenizer("What does a customer want who")["input_ids"], []
    model = smollm2._language_model.model
    plain = model.forward
    smollm2.remember(head)
    monkeypatch.setattr(model, "forward", lambda **told: read.append(told["input_ids"].shape) or plain(**told))
    smollm2.encode_tokens([[*head, 7, 8], [*head, 9], [7, 8, 9]])
    smollm2.remember([])
    assert sorted(read) == [(1, 3), (2, 2)]


def test_no_texts_give_no_rows(minilm):
    assert minilm.encode([]).shape == (0, 384)


def test_texts_are_cut_at_max_tokens(minilm):
    assert max(map(len, minilm.tokenize(TEXTS))) == 64


def test_of_a_long_text_the_end_is_kept_where_it_is_asked_for():
    embedder = Embedder(EncoderConfig(layers=1, max_tokens=5, keep="end"))
    [ids] = embedder.tokenize(["shampoo " * 9 + "soap"])
    assert embedder.tokenizer.decode(ids) == "[CLS] shampoo soap [SEP]"
    assert embedder.model_id.endswith("max_tokens=5/keep=end/normalized")


def test_a_text_without_tokens_is_refused(smollm2):
    with pytest.raises(ValueError, match="text 1 has no tokens: ''"):
        smollm2.encode(["soap", ""])


def test_eos_pooling_ends_every_text_with_the_token(model_cache):
    embedder = Embedder(EmbedConfig(model="smollm2", layers=1, pooling="eos", max_tokens=5))
    ids = embedder.tokenize(["soap", "soap " * 9])
    assert [row[-1] for row in ids] == [2, 2]
    assert len(ids[1]) == 5
    assert embedder.encode(["soap", "soap " * 9]).shape == (2, 576)


def test_vectors_have_length_one_unless_told(minilm):
    np.testing.assert_allclose(np.linalg.norm(minilm.encode(TEXTS), axis=1), 1, atol=1e-5)
    raw = Embedder(EmbedConfig(normalize=False)).encode(TEXTS)
    assert (np.linalg.norm(raw, axis=1) > 1).all()
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, minilm.encode(TEXTS), atol=1e-5)


def test_the_id_names_what_a_vector_depends_on(minilm):
    assert minilm.model_id == embedding_id(EmbedConfig(batch_tokens=99))
    others = [EmbedConfig(layers=1), EmbedConfig(pooling="last"), EmbedConfig(max_tokens=9)]
    others += [EmbedConfig(normalize=False), EmbedConfig(dtype="bfloat16")]
    assert len({minilm.model_id, *map(embedding_id, others)}) == 6


def test_bfloat16_is_close():
    exact = Embedder(EmbedConfig()).encode(TEXTS)
    close = Embedder(EmbedConfig(dtype="bfloat16")).encode(TEXTS)
    assert (exact * close).sum(axis=1).min() > 0.99
