import json
import os
import socket

import pytest

from benchmarks import scale
from benchmarks._ps_settings import Case
from benchmarks._scale_model import Calls, Demands, Hardware, Prediction, own_machines, shared_machine
from benchmarks._scale_rpcs import calls
from benchmarks._scale_sockets import sent
from benchmarks._scale_turns import Taken


def test_a_quick_run_prints_its_figures_as_json_on_the_last_line(capsys):
    assert scale.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    case = figures["cases"]["batch_64_off"]
    assert [(run["workers"], run["servers"]) for run in case["here"]] == [(1, 1), (2, 1), (1, 2)]
    one, two, _ = case["here"]
    assert {"worker-0 to ps-0", "ps-0 to worker-0", "coordinator to worker-0"} <= one["bytes"].keys()
    assert two["bytes"]["worker-1 to ps-0"] > 0
    # A step's weights, 4 · 16 · 8 + 8 + 8 + 1 floats, cross once each way, and some of 64 rows of 16 floats.
    for way in ("ps-0 to worker-0", "worker-0 to ps-0"):
        assert 4 * 529 < one["bytes"][way] < 4 * (529 + 64 * 16) + 4000
    # A step is three RPCs: the server asks for ids and for gradients, the worker for rows and weights.
    assert case["here"][0]["rpcs_a_worker_and_server"] == pytest.approx(3, abs=1)
    assert set(case["predicted"]) == {"10_workers_2_servers", "100_workers_20_servers"}
    assert all(run["examples_per_second"] > 0 for run in case["predicted"].values())


def test_bytes_are_those_of_the_sockets():
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
        listening.accept()[0] as server,
    ):
        before = sent({"here": os.getpid()})["here", "here"]
        client.sendall(bytes(1000))
        assert server.recv(1000, socket.MSG_WAITALL) == bytes(1000)
        server.sendall(bytes(300))
        assert client.recv(300, socket.MSG_WAITALL) == bytes(300)
        assert sent({"here": os.getpid()})["here", "here"] - before == 1300


def test_an_rpc_is_counted_once_in_grpcs_trace():
    metadata = "SEND_INITIAL_METADATA{user-agent: grpc, :authority: 127.0.0.1:5000, :path: /a.B/Get, te: trailers}"
    log = (
        f"I0000 chttp2_transport.cc:1857] perform_stream_op[s=0x1; op=0x2]:  {metadata} RECV_MESSAGE\n"
        f"I0000 chttp2_transport.cc:1781] perform_stream_op_locked[s=0x1; op=0x2]:  {metadata} RECV_MESSAGE\n"
        "I0000 chttp2_transport.cc:1514] HTTP:0:HDR:CLI::path: /a.B/Get\n"
        "I0000 chttp2_transport.cc:1857] perform_stream_op[s=0x1; op=0x2]:  SEND_INITIAL_METADATA{:status: 200}\n"
    )
    assert calls(log, {"127.0.0.1:5000": "ps-0"}) == {("ps-0", "a.B/Get"): 1}
    assert not calls(log, {"127.0.0.1:6000": "ps-0"})


def taken(servers=1, worker=0.8, server=0.4):
    """A unit of 10 steps: 1,000 bytes of weights that travel once a step, beside 5,000 of rows down and 7,000 up."""
    return Taken(
        workers=1, servers=servers, units=10, seconds=1.2, worker=worker, server=server, coordinator=0.1,
        down=(15_000.0,), up=(17_000.0,), others_cores=0.0, dense_bytes=(600, 300, 100), dense_copies=10, pairs=(),
    )  # fmt: skip


def demands():
    one, two = taken(), taken(servers=2, worker=0.9, server=0.5)
    return Demands.of({"a": Case(32, (), 10)}, {"a": one}, {"a": two}, {"a": Calls.between(40, 60)})["a"]


def test_a_call_costs_what_the_second_server_adds():
    found = demands()
    assert (found.calls.fixed, found.calls.per_server) == (20, 20)
    assert found.worker_call == pytest.approx(0.1 / 20) and found.server_call == pytest.approx(0.1 / 20)
    assert found.worker(4) == pytest.approx(0.8 + 3 * 0.1)


def test_one_server_takes_what_was_measured_and_two_what_they_added():
    found = demands()
    assert found.server(1) == pytest.approx([0.4])
    assert found.bytes_of(1)[0] == pytest.approx((15_000, 17_000))
    assert sum(found.server(2)) == pytest.approx(0.5)


def test_a_weight_lies_on_one_server_whole():
    found = demands()
    assert found.shares(2) == pytest.approx([0.6, 0.4])
    assert found.shares(4) == pytest.approx([0.6, 0.3, 0.1, 0.0])
    first, second = found.bytes_of(2)
    assert first == pytest.approx((2500 + 6000, 3500 + 6000))
    assert second == pytest.approx((2500 + 4000, 3500 + 4000))


def test_on_one_machine_one_worker_is_as_fast_as_measured_and_many_keep_its_cores_busy():
    speed = shared_machine(demands(), 1, cores=2).throughput(50)
    assert speed[0] == pytest.approx(1 / 1.2)
    assert speed[-1] == pytest.approx(2 / 1.3, rel=1e-3)  # 1.3 processor seconds a unit


def test_on_machines_of_their_own_a_unit_is_its_parts_one_after_the_other():
    network = own_machines(demands(), 1, Hardware(worker_cores=2, server_cores=1, gigabits=8e-3, round_trip_ms=10))
    parts = {"worker": 0.4, "trips": 21 * 0.01, "coordinator": 0.1, "server": 0.4, "link": 0.015 + 0.017}
    assert network.throughput(1)[0] == pytest.approx(1 / sum(parts.values()))


def test_a_prediction_names_what_is_saturated_and_what_moves_it():
    hardware = Hardware(worker_cores=8, server_cores=1, gigabits=1.0, round_trip_ms=0.0)
    few, many = (Prediction.of(demands(), workers, 1, hardware) for workers in (1, 100))
    assert (few.limit, many.limit) == ("workers", "server processors")
    assert many.examples_per_second == pytest.approx(320 / 0.4, rel=1e-3)
    assert many.twice["server_cores"] == pytest.approx(2, rel=1e-2)
    assert many.twice["workers"] == pytest.approx(1, rel=1e-2)
    assert many.workers_fed == pytest.approx((0.1 + 0.1 + 0.4) / 0.4, rel=1e-2)
