"""An attacker: the address that it calls from, its time, its connections, and the attacks by name."""
import functools
import socket
import time

import http2
from http2 import Connection, is_closed

MIB = 1 << 20
ZEROS = bytes(64 * MIB - 16)
ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


class Peer:
    """The attacker: its address, its deadline, its connections and counts."""

    def __init__(self, address: str, source: str, seconds: float):
        self.address, self.source, self.seconds = address, source, seconds
        self.connections: list[Connection] = []
        self.counts: dict[str, int] = {}

    @functools.cached_property
    def deadline(self) -> float:
        """Starts at the first use, so that preparation takes none of the time."""
        return time.monotonic() + self.seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self.deadline

    def connect(self, window: int | None = None) -> Connection:
        connection = Connection(self.address, self.source, window)
        self.connections.append(connection)
        return connection

    def count(self, what: str, by: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + by

    def report(self) -> dict:
        return {**self.counts, **http2.outcome(self.connections)}


def send_all(peer: Peer, path: str, data: bytes, count: int, encoding: str = "gzip") -> None:
    """Sends the same bytes on `count` streams of one connection, and waits for the answers."""
    connection = peer.connect()
    streams = []
    for _ in range(count):
        stream = connection.open(path, encoding)
        streams.append(stream)
        connection.send(stream, data, end=True, deadline=peer.deadline)
    connection.wait(streams, peer.deadline - time.monotonic())


def push(peer: Peer, sock: socket.socket, data: bytes) -> bool:
    """Sends all bytes and drops the answers; False where the connection closes or the deadline passes before."""
    sock.setblocking(False)
    view = memoryview(data)
    while len(view) > 0:
        if peer.over or is_closed(sock):
            return False
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:
            return False
    return True
