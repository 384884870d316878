import numpy as np
import pytest
import torch

from llm_offline.config import LlmConfig
from llm_offline.knowledge.title_vectors import TitleVectors, cached_vectors, text_of
from llm_offline.language_model import load

ONE = np.eye(12, dtype=np.float32)[0]


@pytest.mark.parametrize("start, first", [([], []), ([7], [5])])
def test_a_text_is_the_newest_titles_after_the_model_s_first_token(start, first):
    vectors = np.stack([ONE, ONE, 0 * ONE, ONE])  # the third item has no title
    titles = TitleVectors(vectors, start, max_titles=2)
    history = np.array([[0, 4, 1], [1, 2, 4], [2, 3, 3], [0, 0, 0]], np.int32)
    assert titles.texts(history) == [first + [4, 1], first + [2, 4], first + [2], first]


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_of_no_item_is_refused(index):
    with pytest.raises(ValueError, match=f"must be at least 0 and below 3, received {index}"):
        TitleVectors(np.stack([ONE, ONE]), [], 9).texts(np.array([[1, index]]))


def test_a_vector_is_as_long_as_a_token_s_and_tells_how_its_title_differs_from_the_mean(tiny_llm):
    model = load(LlmConfig(model=str(tiny_llm), dtype="float64")).model
    embeddings = model.get_input_embeddings().weight
    norm = embeddings.detach().norm(dim=1).mean() * torch.from_numpy(ONE)
    table = TitleVectors(np.stack([5 * ONE, 0 * ONE, ONE]), [9], 4).words(model)  # the mean is 3
    expected = torch.stack([0 * norm, norm, 0 * norm, -norm, embeddings[9]])
    torch.testing.assert_close(table(torch.arange(5)), expected)
    assert not any(value.requires_grad for value in table.parameters())


def test_vectors_are_the_mean_states_of_titles_encoded_once_for_a_model_and_titles(tiny_llm, tmp_path):
    config = LlmConfig(model=str(tiny_llm), max_tokens=6)
    language_model = load(config)
    titles = ["soap", "", "a shea butter", "pen"]
    fresh = cached_vectors(titles, language_model.model_id, config, tmp_path)
    for title, vector in zip(titles, fresh, strict=True):
        ids = language_model.tokenizer(title, return_tensors="pt").input_ids[:, :6]
        with torch.inference_mode():
            mean = language_model.model(ids).last_hidden_state[0].mean(0) if title else torch.zeros(12)
        np.testing.assert_allclose(vector, mean.numpy(), rtol=0, atol=1e-5)
    gone = LlmConfig(model="./gone", max_tokens=6)  # nothing to encode with
    np.testing.assert_array_equal(cached_vectors(titles, language_model.model_id, gone, tmp_path), fresh)
    others = ((titles[::-1], language_model.model_id, gone), (titles, "other", gone))
    for changed in (*others, (titles, language_model.model_id, LlmConfig(model="./gone", max_tokens=5))):
        with pytest.raises(FileNotFoundError):
            cached_vectors(*changed, tmp_path)


def test_vectors_that_are_not_whole_are_made_again(tiny_llm, tmp_path):
    config = LlmConfig(model=str(tiny_llm))
    fresh = cached_vectors(["soap", "pen"], "model", config, tmp_path)
    (file,) = tmp_path.glob("titles-*/vectors.npy")
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(cached_vectors(["soap", "pen"], "model", config, tmp_path), fresh)


def test_a_sentence_encoder_s_text_begins_with_its_first_token(tmp_path):
    config = LlmConfig(model="minilm", layers=1, text="titles")
    language_model = load(config)
    text = text_of(["Shea butter soap", "Comb"], language_model, config, tmp_path)
    assert text.texts(np.array([[0, 2]])) == [[3, 2]]
    first = language_model.model.get_input_embeddings().weight[101]
    torch.testing.assert_close(text.words(language_model.model)(torch.tensor(3)), first)
