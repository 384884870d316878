import chat_run
import pyarrow.parquet as pq
import pytest

from feature_store.latest_sessions import LatestSessions


def test_a_user_is_known_by_the_newest_session(tmp_path):
    chat_run.data(tmp_path)
    found = LatestSessions(tmp_path / "sessions")
    assert found.users == [f"u{number}" for number in range(chat_run.USERS)]
    newest = {row["user_id"]: row for row in pq.read_table(tmp_path / "sessions" / "sessions.parquet").to_pylist()}
    for user in found.users:
        row, when = found.of(user)
        assert when == newest[user]["session_time"]
        assert row == {each.name: newest[user][each.name] for each in chat_run.SCHEMA.features}
    with pytest.raises(KeyError):
        found.of("nobody")
