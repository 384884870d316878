import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from llm_offline.knowledge.titles import Titles, read_titles


@pytest.fixture
def tokenizer(tiny_llm):
    return AutoTokenizer.from_pretrained(tiny_llm)


def read(titles, history, tokenizer):
    return [tokenizer.decode(ids).replace(" ", "") for ids in titles.texts(np.array(history))]


def test_a_text_is_the_titles_newest_last_each_on_a_line_of_its_own(tokenizer):
    titles = Titles(["soap", "comb", "", "pen"], tokenizer, 100)
    assert read(titles, [[0, 1, 2], [4, 3, 1], [0, 0, 0]], tokenizer) == ["soap\ncomb\n", "pen\nsoap\n", ""]


@pytest.mark.parametrize("most, text", [(10, "soap\ncomb\n"), (9, "comb\n"), (5, "comb\n"), (3, "com")])
def test_the_oldest_titles_are_left_out_and_a_newest_one_too_long_is_cut(tokenizer, most, text):
    assert read(Titles(["soap", "comb"], tokenizer, most), [[1, 2]], tokenizer) == [text]


def test_a_title_is_tokenised_once(tokenizer):
    asked = []

    def counting(texts, **options):
        asked.append(texts)
        return tokenizer(texts, **options)

    for name in ("bos_token_id", "cls_token_id", "sep_token_id"):
        setattr(counting, name, None)
    titles = Titles(["soap", "comb", "pen"], counting, 100)
    asked.clear()
    titles.texts(np.array([[1, 2], [2, 1]]))
    titles.texts(np.array([[2, 3]]))
    assert asked == [["soap", "comb"], ["pen"]]


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_of_no_item_is_refused(tokenizer, index):
    with pytest.raises(ValueError, match=f"must be at least 0 and below 3, received {index}"):
        Titles(["soap", "comb"], tokenizer, 9).texts(np.array([[1, index]]))


def test_titles_are_read_in_the_order_of_the_vocabulary(tmp_path):
    items = {"item_id": ["a", "b", "c"], "title": ["Soap &amp; honey", None, "Comb"]}
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    (tmp_path / "item.txt").write_text("".join(json.dumps(item) + "\n" for item in ("c", "x", "a", "b")))
    assert read_titles(tmp_path, tmp_path / "item.txt") == ["Comb", "", "Soap & honey", ""]
