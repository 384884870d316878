"""Remote procedure calls that servers of a cluster make, counted in gRPC's own trace.

With GRPC_TRACE=http and GRPC_VERBOSITY=debug gRPC writes a line to stderr for each call that a process begins; it names
the address called and the method.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

TRACED = {"GRPC_TRACE": "http", "GRPC_VERBOSITY": "debug"}
_CALL = re.compile(r"perform_stream_op\[.*SEND_INITIAL_METADATA\{.*:authority: ([^,]+), :path: /([\w./]+)")


def calls(log: str, names: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """(to, method) -> calls begun in a process's log; ``names`` are the servers' by address, others are left out."""
    found = (match.groups() for match in map(_CALL.search, log.splitlines()) if match)
    return Counter((names[address], method) for address, method in found if address in names)
