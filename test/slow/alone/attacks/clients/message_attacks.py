"""Attacks by the content of messages: compressed, of very many fields, of large images, with long texts."""
import functools
import time

import wire
from http2 import GET, HEALTH, IMAGE, LIST, REFLECTION, STREAM, WATCH
from peer import MIB, ZEROS, Peer, attack, send_all


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
