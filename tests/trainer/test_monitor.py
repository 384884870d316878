import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trainer.config import TrainConfig
from trainer.monitor import Monitor, line


class Done:
    def __init__(self, worker, staleness=0, attempts=1):
        self.worker, self.staleness, self.attempts = worker, staleness, attempts


@pytest.fixture(scope="module")
def counters(sight):
    families = text_string_to_metric_families(sight["page"])
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def total(sight, name):
    return sum(entry.get(name, 0) for entry in sight["history"])


@pytest.mark.parametrize("count", ["steps", "examples"])
def test_the_endpoint_counts_what_history_does(sight, counters, count):
    found = 0
    for worker in ("0", "1"):
        told = counters.get((f"antiphon_train_{count}_total", worker), 0)
        assert told == total(sight, f"worker_{worker}/{count}")
        found += told
    epochs = len(sight["history"])
    units = -(-sight["examples"] // 8)
    last = sight["examples"] - 8 * (units - 1)
    assert found == epochs * {"examples": sight["examples"], "steps": 2 * (units - 1) + -(-last // 4)}[count]


def test_both_workers_trained(counters):
    assert all(counters["antiphon_train_units_total", worker] > 0 for worker in ("0", "1"))


def test_staleness_is_told_of_every_unit(sight, counters):
    units = counters["antiphon_train_units_total", "0"] + counters["antiphon_train_units_total", "1"]
    assert counters["antiphon_train_staleness_units_count",] == units
    mean = counters["antiphon_train_staleness_units_sum",] / units
    assert mean == pytest.approx(total(sight, "staleness/mean") / len(sight["history"]))
    assert counters["antiphon_train_repeated_units_total",] == 0


def test_the_servers_hold_every_parameter_and_slot(sight, counters):
    held = [counters["antiphon_train_server_bytes", server] for server in ("0", "1")]
    assert sum(held) == 4 * sight["parameters"]
    assert all(total(sight, f"server_{k}/bytes") == len(sight["history"]) * count for k, count in enumerate(held))


def test_every_phase_has_its_seconds(sight, counters):
    for phase in ("read", "compile", "schedule", "wait", "validate"):
        assert counters["antiphon_train_phase_seconds_total", phase] == pytest.approx(
            total(sight, f"phase_seconds/{phase}")
        )
    before_the_last = total(sight, "phase_seconds/checkpoint")
    assert counters["antiphon_train_phase_seconds_total", "checkpoint"] > before_the_last > 0


def test_the_gauges_stand_where_the_run_ended(sight, counters):
    assert counters["antiphon_train_epoch",] == len(sight["history"])
    assert counters["antiphon_train_loss",] == pytest.approx(sight["history"][-1]["loss"])
    assert counters["antiphon_train_queue_units", "waiting"] == 0


def test_an_epoch_s_entry_has_only_what_came_since_the_last():
    monitor = Monitor()
    monitor.servers([64, 32])
    monitor.unit(Done(worker=1, staleness=2, attempts=3), steps=10, examples=40)
    monitor.unit(Done(worker=0), steps=10, examples=40)
    monitor.unit(Done(worker=1, staleness=1), steps=5, examples=18)
    monitor.queue(waiting=4, scheduled=3)
    monitor.queue(waiting=3, scheduled=4)
    entry = monitor.epoch(1, 0.5, seconds=5.0)
    assert (entry["worker_0/steps"], entry["worker_1/steps"], entry["worker_1/examples"]) == (10, 15, 58)
    assert (entry["worker_1/steps_per_second"], entry["worker_0/examples_per_second"]) == (3.0, 8.0)
    assert (entry["staleness/mean"], entry["staleness/max"]) == (1.0, 2)
    assert (entry["queue/scheduled"], entry["repeated_units"], entry["server_0/bytes"]) == (3.5, 2, 64)
    assert line(entry) == "2 workers 2.0–3.0 steps/s  staleness 1.0  repeated 2"
    monitor.unit(Done(worker=0), steps=4, examples=16)
    entry = monitor.epoch(2, 0.4, seconds=2.0)
    assert (entry["worker_0/steps"], entry["repeated_units"], entry["staleness/max"]) == (4, 0, 0)
    assert line(entry) == "1 worker 2.0 steps/s"


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"train.metrics_port {port} cannot be listened on"):
            Monitor(port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(ValueError, match="metrics_port must be at least 0 and below 65536"):
        TrainConfig(metrics_port=port)
