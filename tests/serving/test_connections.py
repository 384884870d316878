from __future__ import annotations

import pytest

from serving.client import Client
from serving.connections import SHARED, Connections


def test_those_who_ask_one_server_share_one_transport_until_the_last_gives_it_back() -> None:
    connections = Connections()
    here, there, rest = ("here:1", False, None), ("there:1", False, None), ("here:1", True, None)
    first = connections.take(here)
    assert connections.take(here) is first
    assert connections.take(there) is not first
    assert connections.take(rest) is not first
    connections.give_back(here)
    assert connections.take(here) is first
    connections.give_back(here)
    connections.give_back(here)
    assert connections.take(here) is not first


def test_a_client_gives_its_connections_back_once() -> None:
    server = ("here:1", False, None)
    one, two = Client("here:1", "m"), Client("here:1", "n", label="stable")
    shared = SHARED.take(server)
    SHARED.give_back(server)
    one.close()
    one.close()
    assert SHARED.take(server) is shared
    SHARED.give_back(server)
    two.close()
    with pytest.raises(ValueError, match=r"the client of model m \(its newest version\) at here:1 is closed"):
        one.status()
