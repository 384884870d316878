import numpy as np
import pytest

from feature_store import folders, prompt_codebook
from feature_store.errors import DataError

PRIVATE = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def codebook(tmp_path):
    with folders.new_folder(tmp_path / "codebook") as folder:
        prompt_codebook.write(folder, PRIVATE, ["a", "é", "c"], -PRIVATE[:1], {"model_id": "llm@1"})
    return tmp_path / "codebook"


def test_the_first_prompts_are_read(codebook):
    found = prompt_codebook.read(codebook, 2, "llm@1")
    assert found.private.tolist() == [[0, 1], [2, 3]]
    assert found.texts == ("a", "é")
    assert found.shared.tolist() == [[0, -1]]


def test_what_does_not_fit_is_told(codebook, tmp_path):
    with pytest.raises(DataError, match=r"a codebook's size must be from 1 to 3 \(got 4\)"):
        prompt_codebook.read(codebook, 4)
    with pytest.raises(DataError, match=r"is stale: it must be of 'llm@2' \(got 'llm@1'\)"):
        prompt_codebook.read(codebook, 2, "llm@2")
    with pytest.raises(DataError, match="was not written to the end"):
        prompt_codebook.read(tmp_path, 2)
