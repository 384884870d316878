import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_store import folders
from feature_store.config import DataConfig
from feature_store.datasets import open_dataset
from feature_store.errors import DataError
from feature_store.market import world
from feature_store.market.config import MarketConfig
from feature_store.market.simulate import simulate

TABLES = ("users", "items", "events", "impressions", "searches", "truth")
SMALL = {"items_per_leaf": 5, "users": 2500}


def read(folder, table):
    return pq.read_table(folder / f"{table}.parquet").to_pandas()


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A market of 2,500 users, and what it wrote."""
    folder = tmp_path_factory.mktemp("market") / "real"
    simulate(MarketConfig(**SMALL), folder)
    return folder


@pytest.fixture(scope="module")
def null(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market") / "null"
    simulate(MarketConfig(**SMALL, null_world=True), folder)
    return folder


def test_the_same_seed_gives_the_same_rows_however_they_are_cut(market, tmp_path):
    simulate(MarketConfig(**SMALL), tmp_path / "again", blocks=1)
    for table in TABLES:
        assert pq.read_table(tmp_path / "again" / f"{table}.parquet").equals(pq.read_table(market / f"{table}.parquet"))


def test_a_smaller_market_is_the_beginning_of_a_larger_one(market, tmp_path):
    simulate(MarketConfig(**{**SMALL, "users": 2100}), tmp_path / "few")
    for table in ("users", "impressions", "events", "searches"):
        few, many = read(tmp_path / "few", table), read(market, table)
        first = many[many["user_id"].str[1:].astype(int) < 2100].reset_index(drop=True)
        pd.testing.assert_frame_equal(few, first)


def test_impressions_without_a_click_may_be_left_out_of_the_log(market, tmp_path):
    simulate(MarketConfig(**SMALL, unclicked=0.2), tmp_path / "less")
    whole, less = (read(folder, "impressions") for folder in (market, tmp_path / "less"))
    assert less[less["clicked"] == 1].reset_index(drop=True).equals(whole[whole["clicked"] == 1].reset_index(drop=True))
    assert 0.17 < (less["clicked"] == 0).sum() / (whole["clicked"] == 0).sum() < 0.23
    assert read(tmp_path / "less", "truth")["impression_id"].equals(less["impression_id"])
    for table in ("users", "events", "searches"):
        assert read(tmp_path / "less", table).equals(read(market, table))


def test_another_seed_is_another_market(market, tmp_path):
    simulate(MarketConfig(**{**SMALL, "users": 100}, seed=1), tmp_path / "other")
    assert not read(tmp_path / "other", "items").equals(read(market, "items"))
    assert not read(tmp_path / "other", "users").equals(read(market, "users").head(100))


def test_eighteen_percent_of_the_users_make_nine_tenths_of_the_clicks(market):
    shown = read(market, "impressions")
    clicks = shown[shown["entry"] != "panel"].groupby("user_id")["clicked"].sum()
    clicks = clicks.reindex(read(market, "users")["user_id"], fill_value=0).sort_values(ascending=False)
    assert 0.87 < clicks.head(int(0.18 * len(clicks))).sum() / clicks.sum() < 0.93
    assert 0.9 < clicks.mean() / MarketConfig().clicks_per_user < 1.1


def test_attributes_of_those_with_little_activity_are_missing_more_often(market):
    users = read(market, "users")
    clicks = read(market, "events").query("event_type == 'click'").groupby("user_id").size()
    clicks = clicks.reindex(users["user_id"], fill_value=0).to_numpy()
    hidden = users[["gender", "household", "occupation", "city", "age", "income"]].isna().mean(axis=1)
    assert 0.3 < hidden[clicks < np.quantile(clicks, 0.55)].mean() < 0.4
    assert hidden[clicks > np.quantile(clicks, 0.9)].mean() < 0.1


def test_the_true_probabilities_are_those_of_what_happened(market, null):
    for folder in (market, null):
        rows = pd.concat([read(folder, "impressions"), read(folder, "truth").drop(columns="impression_id")], axis=1)
        assert (read(folder, "truth")["impression_id"] == rows["impression_id"]).all()
        clicked = rows[rows["clicked"] == 1]
        for part, label, chance in ((rows, "clicked", "p_click"), (clicked, "converted", "p_convert")):
            for _, bin in part.groupby(pd.qcut(part[chance], 10)):
                error = np.sqrt((bin[chance] * (1 - bin[chance])).sum()) / len(bin)
                assert abs(bin[label].mean() - bin[chance].mean()) < 4.5 * error
        assert 0.3 < rows["clicked"].mean() < 0.36
        assert 0.08 < clicked["converted"].mean() < 0.12


def _told_by_attributes(folder):
    """How much more a user's household tells of the true log-odds than another user's does: the variance of each
    category's log-odds between households, over that between other users' households."""
    rows = read(folder, "impressions")[["user_id", "item_id"]].assign(p=read(folder, "truth")["p_convert"])
    users = read(folder, "users")[["user_id", "household"]].dropna()
    users["other"] = users["household"].sample(frac=1, random_state=0).to_numpy()
    rows = rows.merge(users)
    logit = np.log(rows["p"] / (1 - rows["p"]))
    rest = logit - logit.groupby(rows["item_id"]).transform("mean")

    leaf = rows["item_id"].str[1:].astype(int) // SMALL["items_per_leaf"]
    own, other = (rest.groupby([leaf, rows[column]]).transform("mean").var() for column in ("household", "other"))
    return own / other


def test_attributes_tell_of_purchases_but_not_in_the_null_world(market, null):
    assert _told_by_attributes(market) > 3
    assert 0.7 < _told_by_attributes(null) < 1.4


def test_searches_tell_of_purchases_but_not_in_the_null_world(market, null):
    def lift(folder):
        """How many times as often a user's purchase is of a category the user searches for than by chance."""
        leaf = {row.item_id: row.categories[1] for row in read(folder, "items").itertuples()}
        bought = read(folder, "events").query("event_type == 'purchase'")
        found = read(folder, "searches")["query"]
        words = set(leaf.values())
        named = found.map(lambda query: next(word for word in words if query.endswith(word)))
        sought = set(zip(read(folder, "searches")["user_id"], named, strict=True))
        pairs = list(zip(bought["user_id"], bought["item_id"].map(leaf), strict=True))
        others = list(zip(bought["user_id"].sample(frac=1, random_state=0), bought["item_id"].map(leaf), strict=True))
        return np.mean([pair in sought for pair in pairs]) / np.mean([pair in sought for pair in others])

    assert lift(market) > 1.5
    assert 0.8 < lift(null) < 1.25


def test_one_users_purchases_tell_nothing_of_anothers_in_the_null_world(market, null):
    def alike(folder):
        """Correlation of two users' true log-odds of an item, over pairs of users with the same attributes."""
        users = read(folder, "users").dropna()
        rows = read(folder, "impressions")[["user_id", "item_id"]].assign(p=read(folder, "truth")["p_convert"])
        rows = rows.merge(users[["user_id", "occupation", "household", "city", "gender"]])
        logit = np.log(rows["p"] / (1 - rows["p"]))
        rows["rest"] = logit - logit.groupby(rows["item_id"]).transform("mean")
        rows["rest"] -= rows.groupby("user_id")["rest"].transform("mean")
        rows = rows.drop_duplicates(["user_id", "item_id"])
        keys = ["item_id", "occupation", "household", "city", "gender"]
        pairs = rows.merge(rows, on=keys).query("user_id_x < user_id_y")
        return np.corrcoef(pairs["rest_x"], pairs["rest_y"])[0, 1]

    assert alike(market) > 0.2
    assert abs(alike(null)) < 0.03


def test_the_appeal_of_items_drifts_as_far_as_is_asked():
    for asked, low, high in ((0.0, 1.0, 1.0), (1.0, 0.3, 0.9)):
        appeal = world.make(MarketConfig(item_drift=asked)).appeal
        assert low <= np.corrcoef(appeal[0], appeal[-1])[0, 1].round(6) <= high


def test_tastes_turn_from_day_to_day_only_where_there_is_drift(tmp_path):
    def moved(folder):
        """How far the true log-odds of a purchase of a pair that met again have moved, over at least three days."""
        rows = read(folder, "impressions")[["user_id", "item_id", "event_time"]]
        rows["p"] = read(folder, "truth")["p_convert"]
        rows["logit"] = np.log(rows["p"] / (1 - rows["p"]))
        pair = rows.groupby(["user_id", "item_id"])
        far = pair["event_time"].transform("max") - pair["event_time"].transform("min") > pd.Timedelta(days=3)
        return (pair["logit"].transform("max") - pair["logit"].transform("min"))[far].mean()

    simulate(MarketConfig(**{**SMALL, "users": 300}, drift=0.0), tmp_path / "still")
    assert moved(tmp_path / "still") < 1e-4
    simulate(MarketConfig(**{**SMALL, "users": 300}), tmp_path / "turning")
    assert moved(tmp_path / "turning") > 0.05


def test_the_panel_is_of_the_last_day_and_leaves_no_events(market):
    shown = read(market, "impressions")
    panel = shown[shown["entry"] == "panel"]
    assert panel.groupby("user_id").size().eq(24).all()
    assert panel["user_id"].nunique() == 2500
    assert (panel["event_time"] >= pd.Timestamp(MarketConfig().test_start, unit="us", tz="UTC")).all()
    clicks = read(market, "events").query("event_type == 'click'")
    assert len(clicks) == shown[shown["entry"] != "panel"]["clicked"].sum()


def test_the_reader_gives_everything_but_the_truth(market):
    dataset = open_dataset(DataConfig("market", str(market)))
    assert dataset.test_start == MarketConfig().test_start
    found = {source.table: sum(raw.batch.num_rows for raw in source.read()) for source in dataset.sources}
    assert found == {table: len(read(market, table)) for table in TABLES if table != "truth"}


def test_a_folder_that_is_no_market_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no MANIFEST.json"):
        open_dataset(DataConfig("market", str(tmp_path)))
    folders.write_manifest(tmp_path, {"kind": "tables"})
    with pytest.raises(DataError, match=r"`antiphon simulate market` makes one \(got 'tables'\)"):
        open_dataset(DataConfig("market", str(tmp_path)))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"users": 0}, "users must be at least 1, received 0"),
        ({"days": 1}, "days must be at least 2"),
        ({"click_rate": 1.0}, "click_rate must be between 0 and 1, received 1.0"),
        ({"shared_taste": 1.5}, "shared_taste must be from 0 to 1"),
        ({"start": "soon"}, r"start must be a date or time such as 2025-06-15 \(ISO 8601\), received 'soon'"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MarketConfig(**settings)
