import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from feature_store.config import ArmConfig, ExperimentConfig
from feature_store.experiments import arm_of, exposures, outcomes
from feature_store.prediction_log import DT_STRING, PredictResponse
from feature_store.request_context import RequestContext
from feature_store.served_log import ServedRow

USERS = [f"user {number}" for number in range(2000)]


def experiment(*shares: float, salt: str = "") -> ExperimentConfig:
    return ExperimentConfig({f"arm{n}": ArmConfig(share) for n, share in enumerate(shares)}, salt)


def counts(name: str, config: ExperimentConfig) -> Counter:
    return Counter(arm_of(name, config, user) for user in USERS)


@settings(max_examples=20)
@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=4), st.floats(1, 2), st.text(max_size=5))
def test_every_arm_gets_its_share_and_the_rest_are_not_in_the_experiment(parts, beyond, salt):
    shares = [part / sum(parts) / beyond for part in parts]
    found = counts("e", experiment(*shares, salt=salt))
    for arm, share in [*((f"arm{n}", share) for n, share in enumerate(shares)), ("", 1 - sum(shares))]:
        spread = math.sqrt(len(USERS) * max(share * (1 - share), 0.0))
        assert abs(found[arm] - len(USERS) * share) <= 6 * spread + 1


@settings(max_examples=20)
@given(st.floats(0.1, 0.4), st.floats(0.1, 0.3), st.floats(0, 0.3))
def test_an_assignment_stays_and_a_growing_last_share_moves_nobody_who_was_in(first, second, more):
    before = {user: arm_of("e", experiment(first, second), user) for user in USERS[:200]}
    after = {user: arm_of("e", experiment(first, second + more), user) for user in USERS[:200]}
    assert before == {user: arm_of("e", experiment(first, second), user) for user in USERS[:200]}
    assert all(after[user] == arm for user, arm in before.items() if arm)


def test_two_experiments_and_two_salts_split_independently():
    config = experiment(0.5, 0.5)
    for other in (("f", config), ("e", experiment(0.5, 0.5, salt="2"))):
        table = [[0, 0], [0, 0]]
        for user in USERS:
            table[arm_of("e", config, user) == "arm0"][arm_of(*other, user) == "arm0"] += 1
        assert stats.chi2_contingency(table).pvalue > 1e-4
    assert counts("e", experiment(0.5, 0.5, salt="f")) == counts("f", config)


@pytest.mark.parametrize(
    ("arms", "rule"),
    [({"a": ArmConfig(1)}, "arms must be at least two"), ({"a": ArmConfig(0.6), "b": ArmConfig(0.6)}, "at most 1")],
)
def test_arms_that_make_no_experiment_are_refused(arms, rule):
    with pytest.raises(ValueError, match=rule):
        ExperimentConfig(arms)


START = datetime(2024, 1, 1, tzinfo=UTC)


def served(hour: float, users: list[str], arms: list[str], *items: list[str]) -> ServedRow:
    response = PredictResponse()
    tensor = response.outputs["items"]
    tensor.dtype = DT_STRING
    tensor.tensor_shape.dim.add(size=len(users))
    tensor.tensor_shape.dim.add(size=2)
    tensor.string_val.extend([item.encode() for row in items for item in row])
    said = RequestContext(tuple(users), exposures=tuple({"e": arm} if arm else {} for arm in arms))
    time = int((START + timedelta(hours=hour)).timestamp() * 1e6)
    header = said.to_header().encode()
    return ServedRow(f"s-{hour}", time, 0.1, "Predict", "GRPC", "m", 1, "", header, b"", response.SerializeToString())


def test_outcomes_by_hand(tmp_path):
    rows = [
        served(0, ["u1", "u2", "u3"], ["a", "b", ""], ["x", "y"], ["x", ""], ["x", "y"]),
        served(1, ["u1"], ["a"], ["y", "z"]),
        served(2, ["u4", "u5"], ["a", "a"], ["x", "y"], ["x", "y"]),
        served(3, ["u4"], ["b"], ["x", "y"]),  # a second arm
        served(4, ["u6"], ["b"], ["x", "y"]),
        ServedRow("s-5", 0, 0.1, "Predict", "GRPC", "m", 1, "", b"", b"", b""),
    ]
    exposed = exposures("e", rows)
    assert exposed.num_rows == 7 and exposed["items"].to_pylist()[1] == ["x"]
    assert exposures("other", rows).num_rows == 0
    events = [
        ("u1", "x", -1, 9.0),  # before
        ("u1", "y", 0.5, 2.0),  # named by the first answer, not by the second, which came later
        ("u1", "x", 30, 5.0),  # after the window
        ("u2", "q", 1, 4.0),
        ("u3", "x", 1, 1.0),  # not in the experiment
        ("u4", "x", 4, 1.0),
        ("u6", "x", 5, 1.0),
        ("u6", "y", 6, 1.0),  # the same answer again
    ]
    columns = ("user_id", "item_id", "event_time", "value")
    table = [dict(zip(columns, (u, i, START + timedelta(hours=h), v), strict=True)) for u, i, h, v in events]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "events.parquet")
    found, crossed = outcomes(exposed, tmp_path / "events.parquet", days=1)
    assert crossed == 1
    assert {arm: {key: values.tolist() for key, values in vars(of).items()} for arm, of in found.items()} == {
        "a": {"requests": [2, 1], "hits": [1, 0], "events": [1, 0], "value": [2, 0]},  # u1, u5
        "b": {"requests": [1, 1], "hits": [0, 1], "events": [1, 2], "value": [4, 2]},  # u2, u6
    }
