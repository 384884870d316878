from __future__ import annotations

from pathlib import Path

from feature_store import served_log
from feature_store.config import ArmConfig, ExperimentConfig
from feature_store.experiments import arm_of, exposures
from serving.config import ServeConfig
from serving.model_config import ModelConfig
from serving.server import Server
from serving.split import SplitClient
from serving.version_policy import All

EXPERIMENT = ExperimentConfig({"old": ArmConfig(0.4, version=1), "new": ArmConfig(0.4, version=2)})
USERS = [f"u{number}" for number in range(30)]


def test_every_user_is_answered_by_the_users_arm_and_the_log_says_which(exported: Path, tmp_path: Path) -> None:
    arms = [arm_of("e", EXPERIMENT, user) for user in USERS]
    assert set(arms) == {"old", "new", ""}
    config = ServeConfig(grpc_port=0, rest_port=0, poll_seconds=0, served_log=str(tmp_path / "log"))
    with Server([ModelConfig("catalogue", exported, All())], config) as server:
        address = f"127.0.0.1:{server.grpc_port}"
        with SplitClient(address, "catalogue", "e", EXPERIMENT, timeout=60) as client:
            answers = client.recommend(USERS, [["abcde"[n % 5]] for n in range(len(USERS))], 1)
    scores = {"old": 1.0, "": 1.0, "new": 2.0}  # what one item more is worth in the arm's version
    for number, (answer, arm) in enumerate(zip(answers, arms, strict=True)):
        best = 4 if number % 5 == 4 else 5  # "e", but where the history has it
        assert answer == [("abcde"[best - 1], best * scores[arm])]
    rows = list(served_log.read(tmp_path / "log"))
    assert sorted(row.version for row in rows) == [1, 1, 2]
    exposed = exposures("e", rows)
    seen = dict(zip(exposed["user_id"].to_pylist(), exposed["arm"].to_pylist(), strict=True))
    assert seen == {user: arm for user, arm in zip(USERS, arms, strict=True) if arm}
