"""The asyncio client."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

import grpc
import grpc.aio

from . import _calls as calls
from ._aio_sending import AsyncSending
from ._channel import Connection, Tls, Token
from ._errors import SaladError, error_of
from ._image import Collector, Image, ScoreArguments, Wanted, job_of
from ._messages import event_of, model_of
from ._retry import Attempts, Retry, RetryNotice
from .header import Header
from .model import Model
from .results import Accepted, Event, Result
from .source import AsyncPixelSource, is_replayable

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncSaladClient:
    """``SaladClient`` for asyncio, with the same arguments.

    Its connections belong to the event loop that runs when the first call is made; in another loop it opens others.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Union[Tls, bool] = False,
        token: Optional[Token] = None,
        api_key: Optional[str] = None,
        timeout: Optional[float] = 60.0,
        retry: Optional[Retry] = Retry(),
        metadata: Optional[Mapping[str, str]] = None,
        max_receive_bytes: int = 64 * 1024 * 1024,
        keepalive: float = 30.0,
        balancing: str = "round_robin",
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._connection = Connection(
            target, tls, token, api_key, metadata or {}, max_receive_bytes, keepalive, balancing, options
        )
        self._timeout = timeout
        self._retry = retry
        self._channels: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, Any]] = (
            weakref.WeakKeyDictionary()
        )
        self._closed = False

    async def __aenter__(self) -> AsyncSaladClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections of this loop and the calls that run on them."""
        self._closed = True
        process, channel = self._channels.pop(asyncio.get_running_loop(), (0, None))
        if channel is not None and process == os.getpid():
            await channel.close()

    async def score(
        self,
        image: Image,
        model: str,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
        retry: Union[Retry, None, calls.Default] = calls.DEFAULT,
        on_event: Optional[Callable[[Event], None]] = None,
        on_retry: Optional[Callable[[RetryNotice], None]] = None,
        **arguments: Unpack[ScoreArguments],
    ) -> Result:
        """Scores one image: an array [rows, columns], a pydicom dataset, a path, a binary file or a file's bytes.

        Files are read, and DICOM pixels decoded, in another thread. Further keywords: ``ScoreArguments``, and those of
        ``score_acquisition``. Raises SaladError; TypeError or ValueError for an image that cannot be scored as it is.
        """
        wanted = Wanted(model, **arguments)
        job = await asyncio.get_running_loop().run_in_executor(None, job_of, image, wanted)
        if job.samples is not None:
            return await self.score_acquisition(
                job.header, job.samples, timeout=timeout, retry=retry, on_event=on_event, on_retry=on_retry
            )
        attempt = lambda left: self._image_events(job.image_request(), left)  # noqa: E731
        return await self._score(attempt, True, timeout, retry, on_event, on_retry)

    async def score_acquisition(
        self,
        header: Header,
        source: AsyncPixelSource,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
        retry: Union[Retry, None, calls.Default] = calls.DEFAULT,
        on_event: Optional[Callable[[Event], None]] = None,
        on_retry: Optional[Callable[[RetryNotice], None]] = None,
    ) -> Result:
        """Streams one acquisition to its end and returns its one result; retries as ``SaladClient`` does."""
        attempt = lambda left: self.stream(header, source, timeout=left)  # noqa: E731
        return await self._score(attempt, is_replayable(source), timeout, retry, on_event, on_retry)

    async def stream(
        self,
        header: Header,
        source: AsyncPixelSource,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
    ) -> AsyncIterator[Event]:
        """Streams one acquisition and yields the answers of the server while it is still being sent.

        One attempt. The end of the loop cancels the acquisition as soon as the event loop runs again;
        ``contextlib.aclosing`` cancels it at once. Raises SaladError; the exception of the source.
        """
        call = self._open(calls.STREAM, None, calls.or_default(timeout, self._timeout))
        sending = AsyncSending(call, header, source)
        try:
            async for response in call:
                event = event_of(response)
                if isinstance(event, Accepted):
                    sending.accepted(event)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            sending.raise_failure()
            raise error_of(error) from None
        except asyncio.CancelledError:
            # A call that was cancelled because of its source raises the same exception as a cancelled task.
            sending.raise_failure()
            raise
        finally:
            call.cancel()
            await sending.stop()
        sending.raise_failure()

    async def models(
        self, *, timeout: Union[float, None, calls.Default] = calls.DEFAULT
    ) -> tuple[Model, ...]:
        """The loaded models, by name, then version."""
        response = await self._unary(calls.LIST, calls.list_request(), timeout)
        return tuple(model_of(model) for model in response.models)

    async def model(
        self,
        name: str,
        version: Optional[int] = None,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
    ) -> Model:
        """One loaded model; the highest version by default. Raises SaladError NOT_FOUND."""
        response = await self._unary(calls.GET, calls.get_request(name, version), timeout)
        return model_of(response.model)

    async def health(
        self, service: str = "", *, timeout: Union[float, None, calls.Default] = calls.DEFAULT
    ) -> Optional[str]:
        """``SERVING``, ``NOT_SERVING`` or ``UNKNOWN``; None for a service that the server does not have."""
        try:
            state: str = await self._unary(calls.HEALTH, service, timeout)
        except SaladError as error:
            if error.status == "NOT_FOUND":
                return None
            raise
        return state

    async def _score(
        self,
        attempt: Callable[[Optional[float]], AsyncIterator[Event]],
        replayable: bool,
        timeout: Union[float, None, calls.Default],
        retry: Union[Retry, None, calls.Default],
        on_event: Optional[Callable[[Event], None]],
        on_retry: Optional[Callable[[RetryNotice], None]],
    ) -> Result:
        seconds = calls.or_default(timeout, self._timeout)
        attempts = Attempts(calls.or_default(retry, self._retry), replayable, seconds, on_retry)
        while True:
            collector = Collector(on_event)
            events: Any = attempt(attempts.left())
            try:
                async for event in events:
                    collector.take(event)
            except SaladError as error:
                await asyncio.sleep(attempts.failed(error))
                continue
            finally:
                await events.aclose()
            return calls.complete(collector.result())

    async def _image_events(self, request: Any, timeout: Optional[float]) -> AsyncIterator[Event]:
        call = self._open(calls.IMAGE, request, timeout)
        try:
            async for response in call:
                event = event_of(response)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            raise error_of(error) from None
        finally:
            call.cancel()

    async def _unary(self, method: calls.Method, request: Any, timeout: Union[float, None, calls.Default]) -> Any:
        try:
            return await self._open(method, request, calls.or_default(timeout, self._timeout))
        except grpc.RpcError as error:
            raise error_of(error) from None

    def _open(self, method: calls.Method, request: Any, timeout: Optional[float]) -> Any:
        callable_ = method.on(self._channel())
        arguments = () if request is None else (request,)
        return callable_(*arguments, timeout=timeout, metadata=self._connection.call_metadata())

    def _channel(self) -> Any:
        """The channel of the running loop: in another loop it would fail with RuntimeError."""
        if self._closed:
            raise ValueError("the client is closed")
        loop = asyncio.get_running_loop()
        process, channel = self._channels.get(loop, (0, None))
        if channel is None or process != os.getpid():
            credentials, options = self._connection.credentials(), self._connection.channel_options()
            if credentials is None:
                channel = grpc.aio.insecure_channel(self._connection.target, options)
            else:
                channel = grpc.aio.secure_channel(self._connection.target, credentials, options)
            self._channels[loop] = (os.getpid(), channel)
        return channel
