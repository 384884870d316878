"""Bytes that processes of this machine have sent each other over TCP, as the kernel counts them; Linux only.

The counters are those of `ss -ti`: the kernel's sock_diag interface (man 7 sock_diag) is asked for the TCP_INFO of
every connection, and /proc says which process holds which socket.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_DONE, _ERROR = 3, 2
_ESTABLISHED = 1 << 1
_INFO = 2  # INET_DIAG_INFO
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2 with an empty socket id: all of them
_MESSAGE = struct.Struct("=4x2s2s44x16xI")  # inet_diag_msg: ports (big-endian), inode
_ATTRIBUTE = struct.Struct("=HH")
_BYTES_ACKED = 120  # offset in tcp_info of u64 tcpi_bytes_acked


class Connection(NamedTuple):
    """One end of a connection."""

    port: int
    peer: int  # the other end's port
    inode: int
    sent: int  # bytes that the other end has acknowledged


def connections() -> Iterator[Connection]:
    """Every established TCP connection of this network namespace, each end that lies in it.

    Raises:
        OSError: the kernel does not answer.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asked:
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), _ESTABLISHED)
            asked.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
            yield from _answers(asked)


def sent(pids: Mapping[str, int]) -> Counter[tuple[str, str]]:
    """(from, to) -> bytes sent, over all connections that are open between the named processes."""
    owner = {inode: name for name, pid in pids.items() for inode in _sockets(pid)}
    ends = [(end, owner[end.inode]) for end in connections() if end.inode in owner]
    at = {(end.port, end.peer): name for end, name in ends}
    found: Counter[tuple[str, str]] = Counter()
    for end, name in ends:
        if other := at.get((end.peer, end.port)):
            found[name, other] += end.sent
    return found


def _answers(asked: socket.socket) -> Iterator[Connection]:
    while True:
        packet, start = asked.recv(1 << 16), 0
        while start < len(packet):
            length, kind, *_ = _HEADER.unpack_from(packet, start)
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -struct.unpack_from("=i", packet, start + _HEADER.size)[0]
                raise OSError(code, f"sock_diag: {os.strerror(code)}")
            yield _connection(packet[start + _HEADER.size : start + length])
            start += (length + 3) & ~3


def _connection(message: bytes) -> Connection:
    port, peer, inode = _MESSAGE.unpack_from(message)
    acknowledged, start = 0, _MESSAGE.size
    while start < len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, start)
        if kind == _INFO:
            acknowledged = struct.unpack_from("=Q", message, start + _ATTRIBUTE.size + _BYTES_ACKED)[0]
        start += (length + 3) & ~3
    return Connection(int.from_bytes(port, "big"), int.from_bytes(peer, "big"), inode, acknowledged)


def _sockets(pid: int) -> Iterator[int]:
    """Inodes of the sockets that a process holds."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:  # closed meanwhile
            continue
        if match := re.fullmatch(r"socket:\[(\d+)\]", target):
            yield int(match[1])
