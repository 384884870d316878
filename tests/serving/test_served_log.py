from __future__ import annotations

import json
import re
import signal
import threading
from pathlib import Path

import pytest
import urllib3

from antiphon.cli import main
from feature_store import served_log
from feature_store.request_context import RequestContext
from feature_store.served_log import OPEN, ServedRow
from serving.client import Client
from serving.metrics import Metrics
from serving.served_log import Limits, ServedLog

LIMITS = Limits(queue_bytes=1 << 20, segment_bytes=1 << 20, segment_seconds=3600, sync_seconds=0)


def row(row_id: str) -> bytes:
    return ServedRow(row_id, 1, 0.5, "Predict", "GRPC", "m", 1, "s", b"", b"", b"").to_record()


def counted(page: str) -> dict[str, int]:
    """Rows by what became of them, of a page of metrics."""
    found = re.findall(r':antiphon:serving:served_log_rows\{outcome="(\w+)"\} (\d+)', page)
    return {outcome: int(count) for outcome, count in found}


def test_closing_writes_what_is_queued_in_the_order_it_came(tmp_path: Path) -> None:
    metrics = Metrics()
    log = ServedLog(tmp_path / "new" / "log", LIMITS, metrics)
    for _ in range(50):
        log.offer(0, row)
    log.close()
    ids = [found.row_id for found in served_log.read(tmp_path / "new" / "log")]
    assert len(ids) == 50 and ids == sorted(ids)
    assert [int(row_id.rpartition("-")[2]) for row_id in ids] == list(range(50))
    assert [path.name for path in log.folder.iterdir()] == [f"{ids[0]}.tfrecord"]
    log.offer(0, row)
    assert counted(metrics.page()) == {"written": 50, "dropped": 1}


def test_a_segment_ends_at_its_size(tmp_path: Path) -> None:
    size = len(row("0" * 42)) + 16
    log = ServedLog(tmp_path, Limits(1 << 20, 2 * size, 3600, 0), Metrics())
    for _ in range(5):
        log.offer(0, row)
    log.close()
    assert [len(list(served_log.read_segment(path))) for path in served_log.segments(tmp_path)] == [2, 2, 1]


def test_a_segment_ends_at_its_age(tmp_path: Path, wait_until) -> None:
    log = ServedLog(tmp_path, Limits(1 << 20, 1 << 20, 0.1, 0), Metrics())
    log.offer(0, row)
    wait_until(lambda: [path.suffix for path in served_log.segments(tmp_path)] == [".tfrecord"])
    log.offer(0, row)
    log.close()
    found = [[one.row_id[-2:] for one in served_log.read_segment(path)] for path in served_log.segments(tmp_path)]
    assert found == [["00"], ["01"]]


def test_a_full_queue_drops_rows_without_waiting_and_their_numbers_are_missing(tmp_path: Path) -> None:
    metrics = Metrics()
    log = ServedLog(tmp_path, Limits(10_000, 1 << 20, 3600, 0), metrics)
    go = threading.Event()

    def slow(row_id: str) -> bytes:
        go.wait()
        return row(row_id)

    log.offer(1000, slow)
    for _ in range(20):
        log.offer(1000, row)  # 2,024 bytes of the queue each: four have room
    go.set()
    log.close()
    assert counted(metrics.page()) == {"written": 4, "dropped": 17}
    assert [found.row_id[-2:] for found in served_log.read(tmp_path)] == ["00", "01", "02", "03"]


def test_a_row_that_cannot_be_made_costs_no_other(tmp_path: Path) -> None:
    metrics = Metrics()
    log = ServedLog(tmp_path, LIMITS, metrics)
    for build in (row, lambda row_id: b"" + None, row):
        log.offer(0, build)
    log.close()
    assert counted(metrics.page()) == {"written": 2, "failed": 1}
    assert len(list(served_log.read(tmp_path))) == 2


def test_it_writes_again_once_the_folder_can_be_written(tmp_path: Path, wait_until) -> None:
    metrics = Metrics()
    folder = tmp_path / "log"
    log = ServedLog(folder, LIMITS, metrics)
    (tmp_path / "log").rename(tmp_path / "away")
    log.offer(0, row)
    wait_until(lambda: counted(metrics.page()).get("failed") == 1)
    (tmp_path / "away").rename(folder)
    log.offer(0, row)
    log.close()
    assert counted(metrics.page()) == {"written": 1, "failed": 1}
    assert [found.row_id[-2:] for found in served_log.read(folder)] == ["01"]


def test_another_server_s_open_segment_is_left_alone_and_a_dead_one_s_finished(tmp_path: Path, wait_until) -> None:
    first = ServedLog(tmp_path, LIMITS, Metrics())
    first.offer(0, row)
    wait_until(lambda: len(list(served_log.read(tmp_path))) == 1)
    dead = tmp_path / f"19700101T000000000000-0-000000000000{OPEN}"
    dead.write_bytes(served_log.segments(tmp_path)[0].read_bytes() + b"torn")
    second = ServedLog(tmp_path, LIMITS, Metrics())
    assert sorted(path.name.endswith(OPEN) for path in served_log.segments(tmp_path)) == [False, True]
    assert len(list(served_log.read(tmp_path))) == 2
    first.close()
    second.close()
    assert not any(path.name.endswith(OPEN) for path in served_log.segments(tmp_path))


@pytest.fixture
def load():
    """Starts threads that ask for recommendations, each for a user and a history of its own, until they fail."""
    threads: list[threading.Thread] = []
    enough = threading.Event()

    def start(address: str, rest: bool, count: int, asked: dict[str, list[str]], answered: set[str]) -> None:
        def ask(number: int) -> None:
            with Client(address, "catalogue", rest=rest, retries=0, timeout=60) as client:
                turn = 0
                while not enough.is_set():
                    turn += 1
                    user = f"{number}-{turn}"
                    asked[user] = ["abcde"[turn % 5], user]
                    try:
                        client.recommend([asked[user]], 3, context=RequestContext((user,)))
                    except Exception:
                        return
                    answered.add(user)

        mine = [threading.Thread(target=ask, args=(len(threads) + n,)) for n in range(count)]
        threads.extend(mine)
        for thread in mine:
            thread.start()

    yield start
    enough.set()
    for thread in threads:
        thread.join()


def test_a_server_killed_under_load_leaves_every_row_it_had_flushed_and_no_half_one(
    start_server, exported: Path, tmp_path: Path, wait_until, load, capsys
) -> None:
    folder = tmp_path / "served"
    flags = (f"--model_base_path={exported}", "--model_name=catalogue", f"--served_log={folder}")
    server = start_server(*flags)
    pages = urllib3.PoolManager()

    def written() -> int:
        page = pages.request("GET", f"http://{server.rest}/monitoring/prometheus/metrics").data.decode()
        return counted(page).get("written", 0)

    asked: dict[str, list[str]] = {}
    answered: set[str] = set()
    load(server.grpc, False, 2, asked, answered)
    load(server.rest, True, 2, asked, answered)
    wait_until(lambda: len(answered) >= 100)
    before, numbers = set(answered), len(asked)  # rows are written in the order of their numbers: theirs are below this
    wait_until(lambda: written() >= numbers)
    certain = written()
    server.stop(signal.SIGKILL)

    rows = list(served_log.read(folder))
    users = [found.context.user_ids[0] for found in rows]
    assert len(rows) >= certain
    assert before <= set(users) <= asked.keys() and len(set(users)) == len(users)
    assert [found.row_id for found in rows] == sorted(found.row_id for found in rows)
    for found, user in zip(rows, users, strict=True):
        assert [item for item in found.inputs["history"][0] if item] == asked[user]
        assert found.outputs["items"][0].tolist() == [item for item in "edcba" if item != asked[user][0]][:3]
        assert (found.model, found.version, found.signature) == ("catalogue", 2, "serving_default")
    assert [path.name.endswith(OPEN) for path in served_log.segments(folder)] == [True]

    again = start_server(*flags)  # it finishes what the dead one left
    assert [path.name.endswith(OPEN) for path in served_log.segments(folder)] == [False]
    assert [found.row_id for found in served_log.read(folder)] == [found.row_id for found in rows]
    capsys.readouterr()
    log = ["--log", str(folder), "--limit", "20", "--out", str(tmp_path / "replay.json")]
    assert main(["replay", *log, "--server", again.grpc, "--k", "2", "--clients", "2"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report == json.loads((tmp_path / "replay.json").read_text())
    assert (report["answered"], report["failed"], report["top_k"]["overlap"]) == (20, 0, 1.0)
    assert again.stop() == 0
    replayed = list(served_log.read(folder))[len(rows) :]
    assert {found.context.user_ids for found in replayed} == {found.context.user_ids for found in rows[:20]}
