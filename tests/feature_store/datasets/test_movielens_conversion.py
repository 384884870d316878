import gzip
import pickle

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.config import DataConfig
from feature_store.datasets import movielens_conversion, open_dataset
from feature_store.datasets.movielens_conversion import low_activity, movielens_1m_conversion


def rows(dataset, table):
    (source,) = dataset.of(table)
    read = pickle.loads(pickle.dumps(source)).read()
    return pa.Table.from_batches([raw.batch for raw in read]).to_pandas()


@pytest.fixture
def folder(tmp_path):
    """40 users, each with 28 ratings: the item is the time, the rating 1 to 5 in turn. Two of each are in the test."""
    users = [f"{user}\tF\t25\t4\t00000" for user in range(1, 41)]
    text = "\n".join(["user_id\tgender\tage\toccupation\tzip", *users])
    for name, lines in (
        ("users.tsv.gz", text),
        (
            "movies.tsv.gz",
            "item_idx\ttitle\tyear\tgenres_ml1m\tgenres_ml_latest_small\n"
            + "\n".join(f"{i}\tFilm {i}\t1990\tDrama\tDrama" for i in range(28)),
        ),
    ):
        with gzip.open(tmp_path / name, "wt") as file:
            file.write(lines)
    ratings = [(user, time, 1 + time % 5, time, time == 27) for user in range(1, 41) for time in range(28)]
    names = ["user_id", "item_idx", "rating", "timestamp", "is_last"]
    columns = {name: [row[n] for row in ratings] for n, name in enumerate(names)}
    pq.write_table(pa.table(columns), tmp_path / "ratings.parquet")
    return tmp_path


def test_low_users_keep_the_newest_of_training_and_all_of_the_test(folder):
    dataset = movielens_1m_conversion(DataConfig("movielens_1m_conversion", str(folder)))
    shown = rows(dataset, "impressions")
    assert dataset.test_start == 26_000_000  # the quantile 13/14 of 0..27 is 25.07
    low = {user for user in range(1, 41) if low_activity(str(user))}
    assert 10 < len(low) < 32
    for user, part in shown.groupby("user_id"):
        times = part["event_time"].tolist()
        assert times == list(range(28 - len(times), 28))  # the newest
        training = len(times) - 2
        assert training == 26 if user not in low else 5 <= training <= 25
    assert (shown["clicked"] == 1).all()
    assert shown["converted"].tolist() == [int(time % 5 == 4) for time in shown["event_time"]]
    assert shown["impression_id"].is_unique


def test_a_conversion_is_a_purchase_after_its_click(folder):
    dataset = movielens_1m_conversion(DataConfig("movielens_1m_conversion", str(folder)))
    shown, events = rows(dataset, "impressions"), rows(dataset, "events")
    counts = events["event_type"].value_counts()
    assert (counts["click"], counts["purchase"]) == (len(shown), shown["converted"].sum())
    first = events[events["user_id"] == events["user_id"][0]].query("item_id == 24")
    assert first["event_type"].tolist() == ["click", "purchase"]


def test_attributes_are_hidden_of_low_users_only(folder):
    dataset = movielens_1m_conversion(DataConfig("movielens_1m_conversion", str(folder)))
    users = rows(dataset, "users").set_index("user_id")
    low = [low_activity(user) for user in users.index]
    assert users[~pd.Series(low, users.index)].notna().all(axis=None)
    hidden = users[pd.Series(low, users.index)].isna().mean(axis=None)
    assert 0.15 < hidden < 0.55  # 35% of some eighty
    assert set(users["occupation"].dropna()) == {"student"}


def test_the_public_data_is_thinned_as_written(shared_data):
    dataset = open_dataset(DataConfig("movielens_1m_conversion", str(shared_data / "movielens_1m")))
    users = rows(dataset, "users")
    share = users["user_id"].map(low_activity).mean()
    assert abs(share - movielens_conversion.LOW_SHARE) < 0.02
    shown = rows(dataset, "impressions")
    test = shown["event_time"].astype(int) * 1_000_000 >= dataset.test_start
    assert test.sum() == 71_444
    low = shown["user_id"].astype(str).map(low_activity)
    per_user = shown[~test].groupby(["user_id", low])["converted"].sum().groupby(level=1).mean()
    everybody = share * per_user[True] + (1 - share) * per_user[False]
    assert 0.1 < per_user[True] / everybody < 0.25  # the paper's low-activity users have 0.19 of the mean
