import json

import numpy as np
import pytest

from feature_store import folders, prompt_codebook
from llm_offline.config import LlmConfig, PromptConfig
from llm_offline.knowledge import codebook
from llm_offline.language_model import load


@pytest.fixture(scope="module")
def smollm2(model_cache):
    return LlmConfig(model="smollm2", layers=1)


@pytest.fixture(scope="module")
def written(smollm2, tmp_path_factory):
    out = tmp_path_factory.mktemp("knowledge") / "codebook"
    return out, codebook.write(out, smollm2, PromptConfig())


def test_one_folder_serves_every_size(written):
    out, summary = written
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["rows"], summary["shared"], summary["width"], summary["without_lens"]) == (512, 2, 576, 96)
    whole = prompt_codebook.read(out, 512, summary["model_id"])
    for size in (4, 64, 512):
        part = prompt_codebook.read(out, size)
        assert (part.private == whole.private[:size]).all()
        assert len(set(part.texts)) == size


def test_a_prompt_is_as_long_as_a_token_and_no_two_are_alike(written, smollm2):
    out, summary = written
    found = prompt_codebook.read(out, 64)
    tokens = load(smollm2).model.get_input_embeddings().weight.detach().norm(dim=1)
    for vectors in (found.private, found.shared):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), float(tokens.median()), rtol=1e-5)
    unit = found.private / summary["length"]
    cosines = (unit @ unit.T)[~np.eye(64, dtype=bool)]
    assert abs(cosines.mean()) < 0.1  # of the means that are not centred it is 0.69
    assert cosines.max() < 0.75


def test_a_prompt_is_its_tokens_mean_less_that_of_all_prompts(tiny_llm, tmp_path):
    config = LlmConfig(model=str(tiny_llm))
    summary = codebook.write(tmp_path / "codebook", config, PromptConfig("shop"))
    found = prompt_codebook.read(tmp_path / "codebook", 86, summary["model_id"])
    model = load(config)
    table = model.model.get_input_embeddings().weight.detach().numpy()
    means = [table[model.tokenizer(text)["input_ids"]].mean(0) for text in found.texts]
    expected = means[0] - np.mean(means, axis=0)  # the first 86 are the sentences without a lens
    expected *= summary["length"] / np.linalg.norm(expected)
    np.testing.assert_allclose(found.private[0], expected, rtol=1e-3, atol=1e-5)


def test_the_same_prompts_give_the_same_bytes(written, smollm2, tmp_path):
    codebook.write(tmp_path / "codebook", smollm2, PromptConfig())
    one, two = (folders.read_manifest(out)["files"] for out in (written[0], tmp_path / "codebook"))
    assert one == two
