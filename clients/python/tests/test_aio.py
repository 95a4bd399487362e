"""The asyncio client: what the synchronous one does, and the traps of event loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, Callable, TypeVar

import numpy as np
import pytest
from conftest import CELLS, SIDE, Server, Servers, bands, header, picture
from PIL import Image

from salad_client import (
    Accepted,
    AsyncSaladClient,
    Event,
    Header,
    ImageFormat,
    RetryNotice,
    SaladClient,
    SaladError,
)

IMAGE = picture(3)
T = TypeVar("T")


class SourceFailed(Exception):
    pass


def run(server: Server, body: Callable[[AsyncSaladClient], Awaitable[T]], **options: Any) -> T:
    """In a loop of its own; the server holds nothing afterwards."""

    async def main() -> T:
        async with AsyncSaladClient(server.address, **options) as client:
            return await body(client)

    result = asyncio.run(main())
    server.until_open(0)
    return result


async def generator(after: int = 8, failure: bool = False) -> AsyncIterator[Any]:
    for band in bands(IMAGE)[:after]:
        await asyncio.sleep(0)
        yield band
    if failure:
        raise SourceFailed(f"after {after} bands")


def test_gives_one_result_for_every_kind_of_source(server: Server) -> None:
    def plain() -> Iterator[Any]:
        yield from bands(IMAGE)

    async def body(client: AsyncSaladClient) -> list[Any]:
        sources: list[Any] = [
            IMAGE,
            bands(IMAGE),
            plain(),
            generator(),
            lambda accepted: plain(),
            lambda accepted: generator(),
        ]
        return [await client.score_acquisition(header(), source) for source in sources]

    with SaladClient(server.address) as client:
        expected = client.score(IMAGE, "small")
    for result in run(server, body):
        np.testing.assert_array_equal(result.patch_scores, expected.patch_scores)
        assert result.image_score == expected.image_score


def test_scores_arrays_and_files_side_by_side(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(IMAGE).save(path)

    async def body(client: AsyncSaladClient) -> list[Any]:
        return list(await asyncio.gather(*(client.score(image, "small") for image in [IMAGE, path] * 4)))

    results = run(server, body)
    assert len({result.image_score for result in results}) == 1
    assert len({result.acquisition_id for result in results}) == 8


def test_names_models_and_health(server: Server) -> None:
    async def body(client: AsyncSaladClient) -> None:
        assert len(await client.models()) == 4
        assert (await client.model("small", 1)).identity.version == 1
        assert await client.health() == "SERVING" and await client.health("nobody") is None
        with pytest.raises(SaladError) as caught:
            await client.model("nobody")
        assert caught.value.reason == "MODEL_NOT_FOUND"
        with pytest.raises(SaladError) as caught:
            await client.score_acquisition(header(rows=0), IMAGE)
        assert caught.value.violations[0].field == "header.image.rows"

    run(server, body)


@pytest.mark.parametrize("after", [0, 1, 7, 8])
def test_raises_what_the_source_raised(server: Server, after: int) -> None:
    async def body(client: AsyncSaladClient) -> None:
        for _ in range(15):
            with pytest.raises(SourceFailed, match=f"after {after} bands"):
                await client.score_acquisition(header(), generator(after, failure=True))
            with pytest.raises(SourceFailed):
                await client.score_acquisition(header(), lambda accepted: generator(after, failure=True))

    run(server, body)


def test_refuses_in_its_source_what_the_wire_has_not(server: Server) -> None:
    async def body(client: AsyncSaladClient) -> None:
        with pytest.raises(TypeError, match="type float64 are refused"):
            await client.score_acquisition(header(), iter(bands(IMAGE / 255.0)))
        with pytest.raises(TypeError, match="type int64 are refused"):
            await client.score(IMAGE.astype(np.int64), "small")

    run(server, body)


def test_stops_sending_and_closes_the_source_when_the_loop_is_left(server: Server) -> None:
    async def body(client: AsyncSaladClient) -> None:
        began, closed = asyncio.Event(), asyncio.Event()

        async def stalls() -> AsyncIterator[Any]:
            try:
                began.set()
                yield IMAGE[:8]
                await asyncio.sleep(60)
            finally:
                closed.set()

        async for event in client.stream(header(), stalls()):
            assert isinstance(event, Accepted)
            await asyncio.wait_for(began.wait(), 10)
            break
        await asyncio.wait_for(closed.wait(), 10)
        await asyncio.get_running_loop().run_in_executor(None, server.until_open, 0)
        assert (await client.score(IMAGE, "small")).coverage.scored == CELLS

    run(server, body)


def test_ends_with_its_task(server: Server) -> None:
    async def body(client: AsyncSaladClient) -> None:
        accepted, began, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def stalls() -> AsyncIterator[Any]:
            try:
                began.set()
                yield IMAGE[:8]
                await asyncio.sleep(60)
            finally:
                closed.set()

        def listen(event: Event) -> None:
            accepted.set()

        task = asyncio.ensure_future(client.score_acquisition(header(), stalls(), on_event=listen))
        await asyncio.wait_for(accepted.wait(), 30)
        await asyncio.wait_for(began.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed.is_set()
        # gRPC waits for the status of the call in a task of its own.
        left = {each for each in asyncio.all_tasks() - {asyncio.current_task()} if "_AioCall" not in repr(each)}
        assert not left, left

    run(server, body)


def test_works_in_one_loop_after_another(server: Server) -> None:
    client = AsyncSaladClient(server.address)

    async def score() -> int:
        return (await client.score(IMAGE, "small")).coverage.scored

    async def last() -> int:
        scored = await score()
        await client.close()
        with pytest.raises(ValueError, match="closed"):
            await client.models()
        return scored

    assert [asyncio.run(score()), asyncio.run(score()), asyncio.run(last())] == [CELLS] * 3


def test_works_in_two_loops_at_once(server: Server) -> None:
    client = AsyncSaladClient(server.address)
    outcomes: list[int] = []

    async def score() -> None:
        for _ in range(5):
            outcomes.append((await client.score(IMAGE, "small")).coverage.scored)

    threads = [threading.Thread(target=lambda: asyncio.run(score())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [CELLS] * 10


def test_has_a_deadline(server: Server) -> None:
    async def stalls() -> AsyncIterator[Any]:
        yield IMAGE[:8]
        await asyncio.sleep(60)

    async def body(client: AsyncSaladClient) -> None:
        started = time.monotonic()
        with pytest.raises(SaladError) as caught:
            await client.score_acquisition(header(), stalls())
        assert caught.value.status == "DEADLINE_EXCEEDED"
        assert time.monotonic() - started < 5

    run(server, body, timeout=0.3)


def test_comes_back_after_a_reset_in_mid_stream(servers: Servers) -> None:
    server = servers.start()
    proxy = server.proxy()
    notices: list[RetryNotice] = []

    async def main() -> None:
        async with AsyncSaladClient(proxy.address) as client:
            expected = await client.score(IMAGE, "small")
            proxy.reset(after_bytes=2500)
            result = await client.score_acquisition(header(), bands(IMAGE), on_retry=notices.append)
            np.testing.assert_array_equal(result.patch_scores, expected.patch_scores)
            assert len(notices) == 1
            proxy.reset(after_bytes=2500)
            with pytest.raises(SaladError) as caught:
                await client.score_acquisition(header(), generator())
            assert caught.value.status == "UNAVAILABLE"

    asyncio.run(main())
    server.stop()


def test_keeps_the_status_of_a_server_that_refuses_while_pixels_are_sent(server: Server) -> None:
    """grpc.aio replaces it by "INTERNAL: Internal error from Core" where a write fails."""

    async def body(client: AsyncSaladClient) -> None:
        for rows in (0, SIDE, 65_000):
            for _ in range(10):
                with pytest.raises(SaladError) as caught:
                    await client.score_acquisition(header(rows=rows, columns=1024), bands(IMAGE) * 50)
                expected = "HEADER_INVALID" if rows == 0 else "SAMPLE_COUNT_MISMATCH"
                assert caught.value.reason == expected, caught.value

    run(server, body)


def test_waits_for_the_connection_instead_of_gathering(server: Server) -> None:
    """A source that gives faster than the server takes is paused by the flow control of the call."""
    given = 0

    async def endless() -> AsyncIterator[Any]:
        nonlocal given
        while True:
            given += 1
            yield np.zeros((4, 60_000), np.uint8)

    async def body(client: AsyncSaladClient) -> None:
        wide = Header("stretched", ImageFormat(rows=1000, columns=60_000, bits_allocated=8))
        events = client.stream(wide, endless())
        with pytest.raises(SaladError) as caught:
            async for _event in events:
                pass
        # It ends with the row too many, long before a source that never ends has filled the memory.
        assert caught.value.reason == "SAMPLE_COUNT_MISMATCH"
        assert 250 <= given < 400

    run(server, body)
