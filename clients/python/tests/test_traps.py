"""What goes wrong, silently or for good, in clients that use gRPC and numpy as they come."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import CELLS, SIDE, Server, Servers, bands, header, picture

from salad_client import (
    Accepted,
    AnomalyMapFormat,
    FieldViolation,
    Header,
    ImageFormat,
    SaladClient,
    SaladError,
    Source,
    Tile,
    Tiles,
)

IMAGE = picture(3)


class SourceFailed(Exception):
    pass


def failing(after: int) -> Iterator[npt.NDArray[Any]]:
    yield from bands(IMAGE)[:after]
    raise SourceFailed(f"after {after} bands")


@pytest.mark.parametrize("after", [0, 1, 7, 8])
def test_raises_what_the_source_raised(client: SaladClient, server: Server, after: int) -> None:
    for _ in range(5):
        with pytest.raises(SourceFailed, match=f"after {after} bands"):
            client.score_acquisition(header(), failing(after))
        with pytest.raises(SourceFailed):
            client.score_acquisition(header(), lambda accepted: failing(after))
    server.until_open(0)


def test_raises_what_a_function_raised_before_its_first_chunk(client: SaladClient) -> None:
    def source(accepted: Accepted) -> Iterator[Any]:
        raise SourceFailed(accepted.acquisition_id)

    with pytest.raises(SourceFailed, match="test"):
        client.score_acquisition(header(), source)


def test_raises_what_a_listener_raised(client: SaladClient) -> None:
    def listener(event: object) -> None:
        raise SourceFailed("listener")

    with pytest.raises(SourceFailed, match="listener"):
        client.score(IMAGE, "small", on_event=listener)


def test_stops_sending_and_closes_the_source_when_the_loop_is_left(client: SaladClient, server: Server) -> None:
    given: list[int] = []
    # A generator that was not started has nothing to close.
    began, closed = threading.Event(), threading.Event()

    def endless() -> Iterator[Any]:
        try:
            while True:
                given.append(1)
                began.set()
                yield Tiles((Tile(len(given) % 4, 0, bytes(256)),))
                time.sleep(0.001)
        finally:
            closed.set()

    slow = Header("small", ImageFormat(rows=SIDE, columns=SIDE, bits_allocated=8), source=Source.TILES)
    for event in client.stream(slow, endless()):
        assert isinstance(event, Accepted) and began.wait(10)
        break
    assert closed.wait(10)
    server.until_open(0)
    count = len(given)
    assert client.score(IMAGE, "small").coverage.scored == CELLS
    assert len(given) == count


def test_leaves_the_loop_though_the_source_gives_nothing(client: SaladClient, server: Server) -> None:
    stalled, released, closed = threading.Event(), threading.Event(), threading.Event()

    def stalls() -> Iterator[Any]:
        try:
            yield IMAGE[:16]
            stalled.set()
            released.wait(30)
            yield IMAGE[16:]
        finally:
            closed.set()

    for _ in client.stream(header(), stalls()):
        assert stalled.wait(10)
        break
    server.until_open(0)
    assert not closed.is_set()
    # It is closed by its own thread as soon as it returns, and is not read any more.
    released.set()
    assert closed.wait(10)


def test_leaves_no_thread_behind(client: SaladClient) -> None:
    client.score(IMAGE, "small")
    before = threading.active_count()
    for _ in range(10):
        for _event in client.stream(header(), lambda accepted: bands(IMAGE)):
            break
    with pytest.raises(SaladError):
        client.score_acquisition(header(rows=0), lambda accepted: bands(IMAGE))
    give_up = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < give_up, threading.enumerate()
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i2", ">i2"])
def test_swaps_the_bytes_of_big_endian_samples(client: SaladClient, kind: str) -> None:
    values = IMAGE.astype(np.int64) * 100
    result = client.score(values.astype(kind), "small")
    native = client.score(values.astype(np.dtype(kind).newbyteorder("=")), "small")
    np.testing.assert_array_equal(result.patch_scores, native.patch_scores)
    streamed = client.score_acquisition(
        header(bits_allocated=16, is_signed="i" in kind), iter(bands(values.astype(kind)))
    )
    np.testing.assert_array_equal(streamed.patch_scores, native.patch_scores)


def test_sends_views_row_by_row(client: SaladClient) -> None:
    expected = client.score(IMAGE, "small").patch_scores
    fortran = np.asfortranarray(IMAGE)
    strided = np.repeat(np.repeat(IMAGE, 2, 0), 3, 1)[::2, ::3]
    flipped = np.ascontiguousarray(IMAGE[::-1, ::-1])[::-1, ::-1]
    for view in (fortran, strided, flipped):
        np.testing.assert_array_equal(client.score(view, "small").patch_scores, expected)


@pytest.mark.parametrize("kind", ["int32", "uint32", "int64", "float32", "float64", "bool", "complex64"])
def test_refuses_types_that_the_wire_has_not_by_name(client: SaladClient, kind: str) -> None:
    with pytest.raises(TypeError, match=f"type {kind} are refused"):
        client.score(IMAGE.astype(kind), "small")
    with pytest.raises(TypeError, match=f"type {kind} are refused"):
        client.score_acquisition(header(), iter(bands(IMAGE.astype(kind))))


def test_refuses_shapes_and_things_that_are_no_image(client: SaladClient) -> None:
    for shape in ((SIDE, SIDE, 3), (SIDE * SIDE,), (0, SIDE)):
        with pytest.raises(ValueError, match="must be \\[rows, columns\\]"):
            client.score(np.zeros(shape, np.uint8), "small")
    with pytest.raises(ValueError, match="masked"):
        client.score(np.ma.masked_greater(IMAGE, 100), "small")
    with pytest.raises(TypeError, match="not str"):
        client.score_acquisition(header(), iter(["rows"]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="DICOM only"):
        client.score(IMAGE, "small", frame=1)
    with pytest.raises(TypeError, match="windw"):
        client.score(IMAGE, "small", windw=1)  # type: ignore[call-arg]


def test_takes_answers_above_four_mebibytes(client: SaladClient, server: Server) -> None:
    # Embeddings of every patch, and a map: small here; the limit is what counts.
    with SaladClient(server.address, max_receive_bytes=1000, retry=None) as narrow:
        with pytest.raises(SaladError) as caught:
            narrow.score(IMAGE, "small", anomaly_map=AnomalyMapFormat.FLOAT32)
        assert caught.value.status == "RESOURCE_EXHAUSTED" and caught.value.reason is None
    options = dict(client._connection.channel_options())
    assert options["grpc.max_receive_message_length"] == 64 * 1024 * 1024


def test_pings_no_sooner_than_servers_allow(server: Server) -> None:
    with pytest.raises(ValueError, match="at least 10"):
        SaladClient(server.address, keepalive=9)
    with pytest.raises(ValueError, match="balancing"):
        SaladClient(server.address, balancing="random")
    options = dict(SaladClient(server.address)._connection.channel_options())
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.http2.max_pings_without_data"] == 0


def stalling(released: threading.Event) -> Iterator[Any]:
    yield IMAGE[:8]
    released.wait(30)


def test_has_a_deadline_unless_told_otherwise(server: Server) -> None:
    assert SaladClient(server.address)._timeout == 60
    released = threading.Event()
    with SaladClient(server.address, timeout=0.3) as client:
        started = time.monotonic()
        with pytest.raises(SaladError) as caught:
            client.score_acquisition(header(), stalling(released))
        assert caught.value.status == "DEADLINE_EXCEEDED"
        assert 0.25 < time.monotonic() - started < 5
        # None is explicit, and reaches the call.
        assert client.score(IMAGE, "small", timeout=None).coverage.scored == CELLS
    released.set()


def test_is_shared_by_threads(client: SaladClient) -> None:
    images = [picture(seed) for seed in range(8)]
    alone = [client.score(image, "small").patch_scores for image in images]

    def score(index: int) -> bool:
        for _ in range(5):
            np.testing.assert_array_equal(client.score(images[index], "small").patch_scores, alone[index])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(score, range(8)))


def test_makes_its_connection_on_first_use_and_closes_it(server: Server) -> None:
    proxy = server.proxy()
    one, other = SaladClient(proxy.address), SaladClient(proxy.address)
    assert proxy.opened() == 0
    one.models()
    one.score(IMAGE, "small")
    other.score(IMAGE, "small")
    # A connection of its own for each client.
    assert proxy.opened() == 2
    one.close()
    one.close()
    other.close()
    with pytest.raises(ValueError, match="closed"):
        one.models()


FORKS = """
import os, sys
import numpy as np
from salad_client import SaladClient
client = SaladClient(sys.argv[1])
image = np.random.default_rng(3).integers(0, 256, (64, 64), np.uint8)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if client.score(image, "small").coverage.scored == 64 else 1)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
assert client.score(image, "small").coverage.scored == 64
print("forked", flush=True)
"""


def test_may_be_made_before_a_fork(server: Server) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, server.address], capture_output=True, text=True, timeout=60)
    assert done.stdout == "forked\n", done.stderr


def test_starts_nothing_when_it_is_imported() -> None:
    code = "import threading, salad_client; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.stdout == "1\n", done.stderr


def test_imports_neither_pydicom_nor_a_package_of_others_names() -> None:
    code = "import sys, salad_client; print(sorted({'pydicom', 'salad', 'inference', 'google.rpc'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_asks_for_the_token_of_every_call(servers: Servers) -> None:
    server = servers.start(tokens=True)
    good, expired = server.answer["token"], server.answer["expiredToken"]
    tokens = iter([good, expired, good])
    with SaladClient(server.address, token=lambda: next(tokens), retry=None) as client:
        assert client.score(IMAGE, "small").coverage.scored == CELLS
        with pytest.raises(SaladError) as caught:
            client.models()
        assert caught.value.reason == "CREDENTIALS_INVALID"
        assert len(client.models()) == 4
    server.stop()


def test_errors_cross_processes() -> None:
    error = SaladError("NOT_FOUND", "no model", reason="MODEL_NOT_FOUND", violations=(FieldViolation("a", "b"),))
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.reason, again.violations) == (error.status, error.reason, error.violations)
    assert str(again) == str(error) == "NOT_FOUND (MODEL_NOT_FOUND): no model"


def test_a_connection_has_more_time_than_a_few_round_trips() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with SaladClient(target) as client, pytest.raises(SaladError) as caught:
            client.health(timeout=0.8)
    # Not UNAVAILABLE: the client still waits for the handshake.
    assert caught.value.status == "DEADLINE_EXCEEDED"
