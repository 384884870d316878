import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._scale_mva import Network, Station


def test_one_customer_meets_no_queue():
    network = Network(3.0, [Station("a", 1.0), Station("b", 4.0, servers=2)])
    assert network.throughput(1) == pytest.approx([1 / 8])


def test_one_station_without_thinking_is_never_idle():
    assert Network(0.0, [Station("a", 0.5)]).throughput(4) == pytest.approx([2.0] * 4)


def test_two_balanced_stations():
    """n customers and K equal stations: X(n) = n / (D · (K + n − 1))."""
    found = Network(0.0, [Station("a", 2.0), Station("b", 2.0)]).throughput(3)
    assert found == pytest.approx([1 / 4, 2 / 6, 3 / 8])


def test_thinking_and_one_station_by_hand():
    # n = 1: R = 1, X = 1/3, Q = 1/3. n = 2: R = 4/3, X = 2 / (2 + 4/3) = 0.6, Q = 0.8. n = 3: R = 1.8, X = 3 / 3.8.
    found = Network(2.0, [Station("a", 1.0)]).throughput(3)
    assert found == pytest.approx([1 / 3, 0.6, 3 / 3.8])


def test_a_station_of_two_servers_is_one_twice_as_fast_behind_a_delay():
    found = Network(1.0, [Station("a", 4.0, servers=2)]).throughput(5)
    assert found == pytest.approx(Network(3.0, [Station("a", 2.0)]).throughput(5))


def test_the_bottleneck_and_the_customers_that_saturate_it():
    network = Network(3.0, [Station("a", 1.0), Station("b", 4.0, servers=8)])
    assert network.bottleneck.name == "a"
    assert network.saturation == 8.0  # a round of 3 + 1 + 4, of which the bottleneck has 1


@pytest.mark.parametrize("network", [lambda: Network(-1.0, []), lambda: Network(0.0, []),
                                     lambda: Station("a", -1.0), lambda: Station("a", 1.0, servers=0)])  # fmt: skip
def test_what_cannot_be_is_refused(network):
    with pytest.raises(ValueError):
        network()


seconds = st.floats(1e-3, 10.0)
networks = st.builds(
    Network, seconds, st.lists(st.builds(Station, st.just("a"), seconds, st.integers(1, 8)), min_size=1, max_size=5)
)


@given(networks)
def test_throughput_stays_within_its_bounds_and_never_falls(network):
    found = network.throughput(20)
    assert found[0] == pytest.approx(1 / network.round)
    assert (np.diff(found) >= -1e-9 * found[:-1]).all()
    assert (found <= (1 + 1e-9) / network.bottleneck.bound).all()
    assert (found <= (1 + 1e-9) * np.arange(1, 21) / network.round).all()
