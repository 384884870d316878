import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.errors import DataError
from feature_store.folders import describe, write_manifest
from trainer.knowledge import Basis, read_knowledge
from trainer.vocabulary import Vocabulary


def write(folder, ids, vectors):
    pq.write_table(pa.table({"item_id": ids, "vector": vectors}), folder / "part.parquet")
    write_manifest(folder, {"files": [describe(folder / "part.parquet", folder)]})
    return folder


def test_vectors_are_centred_cut_to_their_main_axis_and_scaled(tmp_path):
    # Along (3, 4) / 5 the two items lie 5 apart: −2.5 and 2.5, of mean norm 1 after scaling.
    folder = write(tmp_path, ["b", "a"], [[0.0, 0.0], [3.0, 4.0]])
    found = read_knowledge(folder, Vocabulary(["a", "b", "c"]), 1)
    assert found.shape == (4, 1)
    np.testing.assert_allclose(np.abs(found[:, 0]), [0, 1, 1, 0], atol=1e-6)
    assert found[1, 0] == pytest.approx(-found[2, 0])


def test_without_a_width_they_stay_along_their_own_axes_at_level_1(tmp_path):
    """Less their mean (1.5, 2) the items are ∓(1.5, 2): the mean square of the four values is 3.125."""
    folder = write(tmp_path, ["b", "a"], [[0.0, 0.0], [3.0, 4.0]])
    found = read_knowledge(folder, Vocabulary(["a", "b", "c"]), 0)
    a = np.array([1.5, 2]) / np.sqrt(3.125)
    np.testing.assert_allclose(found, [[0, 0], a, -a, [0, 0]], rtol=1e-6)


def test_the_width_never_exceeds_the_vectors(tmp_path):
    folder = write(tmp_path, ["a", "b"], [[0.0, 1.0], [1.0, 0.0]])
    assert read_knowledge(folder, Vocabulary(["a", "b"]), 128).shape == (3, 2)


def test_knowledge_of_other_items_is_refused(tmp_path):
    folder = write(tmp_path, ["x"], [[1.0, 2.0]])
    with pytest.raises(DataError, match="none of its 1 items"):
        read_knowledge(folder, Vocabulary(["a"]), 2)


def test_no_folder_says_which_stage_is_missing():
    with pytest.raises(DataError, match="embed"):
        read_knowledge(None, Vocabulary(["a"]), 2)


def test_a_model_that_starts_from_another_reads_knowledge_in_its_coordinates(tmp_path):
    draw = np.random.default_rng(0)
    vectors = dict(zip("abcdefgh", draw.normal(size=(8, 3)), strict=True))
    rows = {}
    for name, ids in (("before", "abcdef"), ("now", "cdefgha")):
        (tmp_path / name).mkdir()
        folder = write(tmp_path / name, list(ids), [vectors[i] for i in ids])
        basis = Basis(list("abcdef"), rows["before"]) if rows else None
        rows[name] = read_knowledge(folder, Vocabulary(list(ids)), 2, basis)
    np.testing.assert_allclose(rows["now"][[7, 1, 2, 3, 4]], rows["before"][[1, 3, 4, 5, 6]], rtol=1e-5, atol=1e-6)
    # The rows are an affine map of the vectors, so a new item's is that of its own vector.
    weights = np.linalg.lstsq(np.array([[*vectors[i], 1.0] for i in "abcdef"]).T, [*vectors["g"], 1.0], rcond=None)[0]
    np.testing.assert_allclose(rows["now"][5], weights @ rows["before"][1:], rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="knowledge_width.*must be 2, as in the model that this one starts from"):
        read_knowledge(folder, Vocabulary(["c"]), 3, Basis(list("abcdef"), rows["before"]))
    with pytest.raises(DataError, match="none of 1 items with knowledge has it"):
        read_knowledge(folder, Vocabulary(["g"]), 2, Basis(list("abcdef"), rows["before"]))


def test_a_model_of_few_items_is_started_from_with_as_many_components_as_it_had(tmp_path):
    """Three items have three principal components, whatever ``width`` asks for; more items come later."""
    draw = np.random.default_rng(0)
    vectors = dict(zip("abcde", draw.normal(size=(5, 6)), strict=True))
    for name, ids in (("before", "abc"), ("now", "abcde")):
        (tmp_path / name).mkdir()
        write(tmp_path / name, list(ids), [vectors[i] for i in ids])
    before = read_knowledge(tmp_path / "before", Vocabulary(list("abc")), 4)
    assert before.shape == (4, 3)
    now = read_knowledge(tmp_path / "now", Vocabulary(list("abcde")), 4, Basis(list("abc"), before))
    assert now.shape == (6, 3)
    np.testing.assert_allclose(now[:4], before, rtol=1e-5, atol=1e-6)
