"""Attacks by calls, connections and messages without pause."""
import struct
import time

import hpack

import http2
import wire
from http2 import HEALTH, LIST, REFLECTION, STREAM, Connection, frame, request
from peer import Peer, attack, push


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
