from __future__ import annotations

import pytest

from serving.prometheus import Counter, Histogram, exponential, page


def test_writes_counters_as_tf_serving_does() -> None:
    counter = Counter("/tensorflow/serving/request_count", ["model_name", "status"])
    counter.add(('a"b\\\n', "OK"))
    counter.add(('a"b\\\n', "OK"), 2)
    plain = Counter("/tensorflow/plain", [])
    plain.add(())
    assert page([counter, plain]).splitlines() == [
        "# TYPE :tensorflow:serving:request_count counter",
        ':tensorflow:serving:request_count{model_name="a\\"b\\\\\\n",status="OK"} 3',
        "# TYPE :tensorflow:plain counter",
        ":tensorflow:plain{} 1",
    ]


def test_a_histogram_s_buckets_add_up() -> None:
    histogram = Histogram("/x", ["model"], [1, 10])
    for value in (0.5, 5, 7, 1000):
        histogram.observe(("m",), value)
    assert page([histogram]).splitlines() == [
        "# TYPE :x histogram",
        ':x_bucket{model="m",le="1"} 1',
        ':x_bucket{model="m",le="10"} 3',
        ':x_bucket{model="m",le="+Inf"} 4',
        ':x_sum{model="m"} 1012.5',
        ':x_count{model="m"} 4',
    ]


def test_what_was_never_counted_is_not_there() -> None:
    assert page([Counter("/x", []), Histogram("/y", [], [1])]) == "\n"


def test_bounds_grow_by_a_factor() -> None:
    assert exponential(10, 1.8, 3) == pytest.approx([10, 18, 32.4])
