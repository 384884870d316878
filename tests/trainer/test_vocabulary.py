import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.vocabulary import Vocabulary


def test_indices_start_at_one_and_unknown_is_padding():
    vocabulary = Vocabulary(["b", "a", "line\nbreak"])
    found = vocabulary.lookup(tf.constant([["a", "line\nbreak"], ["", "nobody"]]))
    assert found.numpy().tolist() == [[2, 3], [0, 0]]
    assert vocabulary.size == 4


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30, unique=True))
def test_names_undo_lookup(ids):
    vocabulary = Vocabulary(ids)
    names = vocabulary.names(vocabulary.lookup(tf.constant(ids))).numpy()
    assert [name.decode() for name in names] == ids


@pytest.mark.parametrize(("ids", "rule"), [([], "at least one"), (["a", ""], "empty"), (["a", "a"], "distinct")])
def test_bad_vocabularies_are_refused(ids, rule):
    with pytest.raises(ValueError, match=rule):
        Vocabulary(ids)


def test_a_file_holds_one_json_string_a_line(tmp_path):
    (tmp_path / "item.txt").write_text('"a"\n"line\\nbreak"\n"é"\n', encoding="utf-8")
    assert Vocabulary.read(tmp_path / "item.txt").ids == ["a", "line\nbreak", "é"]
