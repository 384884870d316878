import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_store import folders, sessions
from feature_store.chat_config import ChatConfig, IntentsConfig, SimulateConfig
from feature_store.datasets import intents
from feature_store.datasets.chatbot import simulate
from feature_store.datasets.chatbot.features import SCHEMA
from feature_store.datasets.chatbot.regions import REGIONS
from feature_store.datasets.chatbot.situations import Situations


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chatbot")
    summary = simulate.run(SimulateConfig(users=1500), folder / "raw")
    rows = pq.read_table(folder / "raw" / "sessions.parquet").to_pandas()
    truth = pq.read_table(folder / "raw" / "truth" / "truth.parquet").to_pandas()
    return folder, summary, rows, truth


def test_the_same_seed_gives_the_same_sessions(made, tmp_path):
    folder, summary, *_ = made
    assert simulate.run(SimulateConfig(users=1500), tmp_path / "again") == summary
    one, two = (folders.read_manifest(path) for path in (folder / "raw", tmp_path / "again"))
    assert [each["sha256"] for each in one["files"]] == [each["sha256"] for each in two["files"]]
    assert simulate.run(SimulateConfig(users=300, seed=2), tmp_path / "other")["sessions"] > 0


def test_the_simulator_s_sessions_pass_the_checks_of_ones_own(made, tmp_path):
    folder, summary, *_ = made
    intents.run(IntentsConfig(), tmp_path / "base")
    raw = folder / "raw"
    files = raw / "sessions.parquet", raw / "schema.json"
    told = sessions.run(*files, tmp_path / "base", tmp_path / "out", ChatConfig())
    assert told["dead_letters"] == {}
    assert sum(told["splits"].values()) == summary["sessions"]
    assert told["splits"]["test"] == told["labelled"]["test"] == summary["test"]


def test_every_feature_has_values_in_some_session(made):
    _, _, rows, _ = made
    for each in SCHEMA.features:
        values = rows[each.name]
        given = values.map(len) > 0 if each.is_list or each.kind == "text" else values.notna()
        assert given.any(), each.name


def test_regions_have_their_own_mix_and_the_sessions_five_weeks(made):
    _, _, rows, _ = made
    users = rows.drop_duplicates("user_id")
    shares = users["region"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(shares, [region.share for region in REGIONS], atol=0.04)
    boleto = users["default_payment"] == 8
    assert boleto.any() and set(users["region"][boleto]) == {8}
    assert rows["session_time"].dt.isocalendar().week.nunique() == 5


def test_only_the_last_week_tells_its_true_intents(made):
    _, _, rows, truth = made
    last = rows["session_time"].dt.strftime("%Y-%m-%d") >= "2026-03-30"
    assert (rows["intents"].map(len) > 0).equals(last)
    assert (truth["session_id"] == rows["session_id"]).all()
    assert (truth["probabilities"].map(len) > 0).equals(last)
    assert 0.1 < last.mean() < 0.3


def test_the_oracle_s_probabilities_come_true(made):
    """Among intents with a chance near p, a share p are true ones."""
    _, _, _, truth = made
    told = truth[truth["probabilities"].map(len) > 0]
    chances = np.stack(told["probabilities"])
    ids = Situations().ids
    true = np.array([np.isin(ids, intents) for intents in told["intents"]])
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.3)):
        some = (chances >= low) & (chances < high)
        expected, seen, n = chances[some].mean(), true[some].mean(), some.sum()
        assert abs(expected - seen) < 4 * np.sqrt(expected * max(1 - expected, 0.05) / n), (low, n)


def test_what_was_done_before_is_what_earlier_sessions_of_the_user_left(made):
    _, _, rows, truth = made
    true = dict(zip(truth["session_id"], truth["intents"], strict=True))
    checked = 0
    for _, visits in rows.sort_values("session_time").groupby("user_id"):
        clicks: list[str] = []
        before = ""
        for _, row in visits.iterrows():
            if before:
                newest = list(row["clicked_intents"])[::-1]  # what the warm-up left is further back
                assert newest[: len(clicks)] == clicks[::-1][:8]
                assert row["dialogue_intents"][-1] == true[before][0]
                checked += 1
            clicks += list(row["clicked"])
            before = row["session_id"]
    assert checked > 100


def test_clicks_prefer_the_true_and_the_first(made):
    _, _, rows, truth = made
    true = {name: set(values) for name, values in zip(truth["session_id"], truth["intents"], strict=True)}
    by_place, right, wrong = np.zeros((8, 2)), 0, 0
    for name, shown, clicked in zip(rows["session_id"], rows["shown"], rows["clicked"], strict=True):
        for place, intent in enumerate(shown):
            if intent in true[name]:
                by_place[place] += (1, intent in clicked)
        right += len(true[name] & set(clicked))
        wrong += len(set(clicked) - true[name])
    rates = by_place[:, 1] / by_place[:, 0]
    assert rates[0] > 0.85 and rates[0] > rates[3] > rates[7]
    assert right > 2 * wrong > 0
