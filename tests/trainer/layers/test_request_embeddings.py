"""What a request's vectors are made of, each by hand from the table's rows."""

import conversion_data
import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.request_embeddings import RequestEmbeddings
from trainer.requests.input import Requests

D = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Requests(conversion_data.write(tmp_path_factory.mktemp("requests") / "r"))


@pytest.fixture(scope="module")
def rows(data):
    return data.parse(tf.stack(list(tf.data.TFRecordDataset([shard.file for shard in data.shards("train")]).take(50))))


@pytest.fixture(scope="module")
def looked_up(data, rows):
    """The embeddings, their tables as arrays, and the ids asked for with the variables that are their vectors."""
    embeddings = RequestEmbeddings(data, D, ["age", "income", "bought", "prior_age", "group_sequence"])
    random = np.random.default_rng(0)
    tables = {f.name: random.normal(size=(f.rows, D)).astype(np.float32) for f in embeddings.features}
    ids = {name: held.numpy() for name, held in embeddings.ids(rows).items()}
    vectors = {name: tf.constant(np.where(held[..., None] < 0, 0, tables[name][held])) for name, held in ids.items()}
    return embeddings, tables, ids, vectors


def item(data, tables, number):
    """By hand: the vector of its id, the mean of its categories', and its price."""
    if number < 0:
        return np.zeros(2 * D + 1, np.float32)
    of_categories = [tables["category"][c] for c in data.item_columns["categories"][number] if c >= 0]
    price = data.item_columns["price"][number]
    return np.concatenate([tables["item"][number], np.mean(of_categories, axis=0), [price]])


def test_an_item_is_its_vector_its_columns_and_its_numbers_wherever_it_occurs(data, rows, looked_up):
    embeddings, tables, _, vectors = looked_up
    parts = embeddings.embedded(vectors, rows)
    assert embeddings.width == 2 * D + 1 and set(parts.items) == {"bought", "group_sequence"}
    occurring = [(parts.candidates, rows.candidates)]
    occurring += [(parts.items[name], rows.features[name]) for name in parts.items]
    for found, numbers in occurring:
        assert found.shape == (*numbers.shape, 2 * D + 1)
        by_hand = [[item(data, tables, number) for number in each] for each in numbers.numpy()]
        np.testing.assert_allclose(found, by_hand, rtol=1e-6)


def test_other_features_have_their_own_vectors_and_numbers(rows, looked_up):
    embeddings, tables, _, vectors = looked_up
    parts = embeddings.embedded(vectors, rows)
    ages = rows.features["age"].numpy()
    assert (ages < 0).any()
    np.testing.assert_array_equal(parts.single["age"], np.where(ages[:, None] < 0, 0, tables["age"][ages]))
    np.testing.assert_array_equal(parts.single["income"][:, 0], rows.features["income"])
    np.testing.assert_array_equal(parts.there["bought"], rows.features["bought"].numpy() >= 0)


def test_a_distinct_item_is_asked_for_once_and_its_columns_with_it(data, rows, looked_up):
    _, _, ids, _ = looked_up
    each = [rows.candidates, rows.features["bought"], rows.features["group_sequence"]]
    occur = np.concatenate([part.numpy().ravel() for part in each])
    distinct = set(occur.tolist())
    assert len(distinct) < len(occur)
    asked = ids["item"][:, 0].tolist()
    assert sorted(asked) == sorted(distinct)
    columns = [[-1, -1] if one < 0 else data.item_columns["categories"][one].tolist() for one in asked]
    np.testing.assert_array_equal(ids["category"][:, 0], np.ravel(columns))


def test_the_gradient_of_a_vector_is_of_all_places_where_it_occurs(rows, looked_up):
    embeddings, _, ids, vectors = looked_up
    with tf.GradientTape() as tape:
        tape.watch(vectors["item"])
        parts = embeddings.embedded(vectors, rows)
        told = [parts.candidates, *parts.items.values()]
        total = tf.add_n([tf.reduce_sum(part[..., :D]) for part in told])
    found = tf.convert_to_tensor(tape.gradient(total, vectors["item"])).numpy()[:, 0]
    each = [rows.candidates, rows.features["bought"], rows.features["group_sequence"]]
    occur = np.concatenate([part.numpy().ravel() for part in each])
    times = [[(occur == one).sum()] * D for one in ids["item"][:, 0]]
    np.testing.assert_allclose(found, times)
