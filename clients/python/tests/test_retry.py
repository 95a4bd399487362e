"""When a broken acquisition is tried again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import pytest
from conftest import CELLS, Servers, bands, header, picture

from salad_client import Retry, RetryNotice, SaladClient, SaladError
from salad_client._errors import Details
from salad_client._retry import Attempts, is_broken

IMAGE = picture(3)
UNAVAILABLE = SaladError("UNAVAILABLE", "gone")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(retry: Optional[Retry] = Retry(), timeout: Optional[float] = None, **more: Any) -> Attempts:
    arguments: dict[str, Any] = {"random": lambda: 0.5, "clock": Clock(), **more}
    return Attempts(retry, arguments.pop("replayable", True), timeout, arguments.pop("on_retry", None), **arguments)


def test_waits_half_of_a_step_that_doubles_up_to_the_maximum() -> None:
    notices: list[RetryNotice] = []
    state = attempts(Retry(initial_backoff=0.1, max_backoff=0.5), on_retry=notices.append)
    assert [state.failed(UNAVAILABLE) for _ in range(5)] == [0.05, 0.1, 0.2, 0.25, 0.25]
    assert [notice.attempt for notice in notices] == [2, 3, 4, 5, 6]
    assert notices[0].error is UNAVAILABLE


def test_gives_up_after_eight_attempts_or_those_asked_for() -> None:
    for retry, count in ((Retry(), 7), (Retry(max_attempts=3), 2), (Retry(max_attempts=1), 0)):
        state = attempts(retry)
        for _ in range(count):
            state.failed(UNAVAILABLE)
        with pytest.raises(SaladError, match="gone"):
            state.failed(UNAVAILABLE)


def test_adds_the_delay_that_the_server_asked_for() -> None:
    full = SaladError("RESOURCE_EXHAUSTED", "full", reason="OVERLOADED", retry_after=2.0)
    assert attempts().failed(full) == 2.05


def test_makes_one_attempt_without_retries_or_a_source_that_can_be_replayed() -> None:
    for state in (attempts(None), attempts(replayable=False)):
        with pytest.raises(SaladError, match="gone"):
            state.failed(UNAVAILABLE)


def test_does_not_begin_a_wait_that_ends_after_the_deadline() -> None:
    clock = Clock()
    state = attempts(Retry(initial_backoff=8, max_backoff=8), timeout=5, clock=clock)
    assert state.failed(UNAVAILABLE) == 4
    clock.now += 4
    assert state.left() == 1
    with pytest.raises(SaladError, match="gone"):
        state.failed(UNAVAILABLE)


def test_tries_once_more_after_a_pause_that_the_server_took_for_the_end_of_the_client() -> None:
    idle = SaladError("DEADLINE_EXCEEDED", "nothing came", reason="IDLE_TIMEOUT")
    state = attempts()
    state.failed(idle)
    state.failed(UNAVAILABLE)
    with pytest.raises(SaladError, match="nothing came"):
        state.failed(idle)


def test_knows_what_passes_by_itself() -> None:
    passes = [
        UNAVAILABLE,
        SaladError("RESOURCE_EXHAUSTED", "", retry_after=0.1),
        SaladError("CANCELLED", "Received RST_STREAM with error code 8"),
        SaladError("UNKNOWN", "Stream removed"),
    ]
    stays = [
        SaladError("RESOURCE_EXHAUSTED", ""),
        SaladError("DEADLINE_EXCEEDED", ""),
        SaladError("INTERNAL", "RST_STREAM", reason="INTERNAL"),
        SaladError("CANCELLED", "Locally cancelled by application!"),
        SaladError("INVALID_ARGUMENT", ""),
    ]
    assert all(map(is_broken, passes)) and not any(map(is_broken, stays))


def test_reads_details_that_a_proxy_has_cut() -> None:
    assert Details.read(b"\x1a\x7f\x0a").reason is None
    assert Details.read(b"\xff" * 12).violations == []


def test_comes_back_after_a_reset_in_mid_stream(servers: Servers) -> None:
    server = servers.start()
    proxy = server.proxy()
    notices: list[RetryNotice] = []
    with SaladClient(proxy.address) as client:
        expected = client.score(IMAGE, "small")
        proxy.reset(after_bytes=2500)
        result = client.score_acquisition(header(), bands(IMAGE), on_retry=notices.append)
        np.testing.assert_array_equal(result.patch_scores, expected.patch_scores)
        assert len(notices) == 1 and notices[0].error.status == "UNAVAILABLE"
        # What can be read once is sent once.
        proxy.reset(after_bytes=2500)
        with pytest.raises(SaladError) as caught:
            client.score_acquisition(header(), iter(bands(IMAGE)))
        assert caught.value.status == "UNAVAILABLE"
    server.stop()


def test_comes_back_after_the_delay_a_full_server_names(servers: Servers) -> None:
    server = servers.start(maxConcurrentAcquisitions=1, retryDelayMs=40)
    released = threading.Event()

    def holder() -> Iterator[Any]:
        yield IMAGE[:8]
        released.wait(30)
        yield IMAGE[8:]

    notices: list[RetryNotice] = []

    def notice(one: RetryNotice) -> None:
        notices.append(one)
        if len(notices) == 3:
            released.set()

    with SaladClient(server.address) as client:
        with_result: list[int] = []
        thread = threading.Thread(
            target=lambda: with_result.append(client.score_acquisition(header("holder"), holder()).coverage.scored)
        )
        thread.start()
        server.until_open(1)
        with pytest.raises(SaladError) as caught:
            client.score(IMAGE, "small", retry=None)
        assert (caught.value.reason, caught.value.retry_after) == ("OVERLOADED", 0.04)
        assert client.score(IMAGE, "small", on_retry=notice).coverage.scored == CELLS
        thread.join()
    assert with_result == [CELLS]
    assert len(notices) >= 3 and all(one.delay >= 0.04 for one in notices)
    server.stop()


def test_gives_up_before_the_deadline_where_no_server_comes() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with SaladClient(f"127.0.0.1:{bound.getsockname()[1]}") as client:
            started = time.monotonic()
            with pytest.raises(SaladError) as caught:
                client.score(IMAGE, "small", timeout=0.6)
            assert caught.value.status == "UNAVAILABLE"
            assert time.monotonic() - started < 2
