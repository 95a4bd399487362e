"""The sending half of a call of the asyncio client: a task that writes as the call takes messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Optional

import grpc
import numpy as np

from ._pixels import rows_of
from ._requests import Requests, header_request
from .header import Header
from .results import Accepted
from .source import AsyncPixelSource, Chunk


class AsyncSending:
    """Writes the requests of one attempt; an exception of the source is kept and cancels the call."""

    def __init__(self, call: Any, header: Header, source: AsyncPixelSource) -> None:
        self._call = call
        self._source = source
        self._accepted: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._failure: Optional[BaseException] = None
        self._task = asyncio.ensure_future(self._run(header))

    def accepted(self, accepted: Accepted) -> None:
        """Starts a source that is a function."""
        if not self._accepted.done():
            self._accepted.set_result(accepted)

    def raise_failure(self) -> None:
        """Raises the exception of the source, if there was one."""
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Ends the source after the end of the call, and waits for it."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, header: Header) -> None:
        requests = Requests()
        chunks: Optional[AsyncIterator[Chunk]] = None
        try:
            if not await self._write(header_request(header)):
                return
            chunks = self._chunks()
            async for chunk in chunks:
                if not await self._write(requests.of(chunk)):
                    return
            if await self._write(requests.end()):
                await self._call.done_writing()
        except asyncio.CancelledError:
            pass
        except BaseException as failure:  # noqa: BLE001: it is raised again where the caller can see it
            self._failure = failure
            self._call.cancel()
        finally:
            if chunks is not None:
                close: Any = getattr(chunks, "aclose", None)
                if close is not None:
                    await close()

    async def _write(self, request: Any) -> bool:
        return await write(self._call, request.SerializeToString())

    async def _chunks(self) -> AsyncIterator[Chunk]:
        source: Any = self._source
        if isinstance(source, np.ndarray):
            source = rows_of(source)
        elif callable(source):
            source = source(await self._accepted)
        if hasattr(source, "__aiter__"):
            iterator = source.__aiter__()
            try:
                async for chunk in iterator:
                    yield chunk
            finally:
                await _close(iterator, "aclose")
            return
        plain = iter(source)
        try:
            for chunk in plain:
                yield chunk
        finally:
            await _close(plain, "close")


async def _close(iterator: Any, name: str) -> None:
    close = getattr(iterator, name, None)
    if close is None:
        return
    answer = close()
    if answer is not None:
        await answer


async def write(call: Any, message: bytes) -> bool:
    """Waits until the call accepts the message; False where the call has ended: its status has the reason.

    ``call.write`` would replace the status that ended the call by INTERNAL (https://github.com/grpc/grpc/issues/36066); the
    call beneath it does not.
    """
    if call.done():
        return False
    try:
        await call.wait_for_connection()
        await call._cython_call.send_serialized_message(message)
    except asyncio.CancelledError:
        # The call was cancelled, not this task, where the task has no request to cancel.
        if call.cancelled():
            return False
        raise
    except grpc.RpcError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("grpc"):
            return False
        raise
    return True
