"""The synchronous client."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

import grpc

from . import _calls as calls
from ._channel import Connection, Tls, Token
from ._errors import SaladError, error_of
from ._image import Collector, Image, ScoreArguments, Wanted, job_of
from ._messages import event_of, model_of
from ._retry import Attempts, Retry, RetryNotice
from ._sending import Sending
from .header import Header
from .model import Model
from .results import Accepted, Event, Result
from .source import PixelSource, is_replayable

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SaladClient:
    """One connection to each address of a target. Threads may share it; close it when done.

    ``target`` is such as ``localhost:50051``, ``dns:///salad-headless:50051`` or ``ipv4:10.0.0.1:50051,10.0.0.2:50051``;
    acquisitions use the addresses in turn (``balancing="pick_first"`` uses only the first). ``tls`` is a ``Tls``, or True
    for the system's authorities; without it everything is sent in plaintext, including tokens. ``token`` is sent as
    ``authorization: Bearer``; a function is called for every attempt. ``timeout`` is in seconds, including retries; None
    means none. No connection is opened before the first call, and a forked process opens its own connections.
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
        self._lock = threading.Lock()
        self._channel: Optional[grpc.Channel] = None
        self._process = 0
        self._closed = False

    def __enter__(self) -> SaladClient:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections and the calls that run on them."""
        with self._lock:
            channel, self._channel, self._closed = self._channel, None, True
        if channel is not None and self._process == os.getpid():
            channel.close()

    def score(
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

        Further keywords: ``ScoreArguments``, and those of ``score_acquisition``. Raises SaladError; TypeError or ValueError for an image that cannot be scored as it is.
        """
        job = job_of(image, Wanted(model, **arguments))
        if job.samples is not None:
            return self.score_acquisition(
                job.header, job.samples, timeout=timeout, retry=retry, on_event=on_event, on_retry=on_retry
            )
        attempt = lambda left: self._image_events(job.image_request(), left)  # noqa: E731
        return self._score(attempt, True, timeout, retry, on_event, on_retry)

    def score_acquisition(
        self,
        header: Header,
        source: PixelSource,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
        retry: Union[Retry, None, calls.Default] = calls.DEFAULT,
        on_event: Optional[Callable[[Event], None]] = None,
        on_retry: Optional[Callable[[RetryNotice], None]] = None,
    ) -> Result:
        """Streams one acquisition to its end and returns its one result.

        A broken connection, a restarting server and a refusal with a retry delay lead to another attempt, where the source
        can be replayed. Raises the SaladError of the last attempt; the exception of the source or of a listener.
        """
        attempt = lambda left: self.stream(header, source, timeout=left)  # noqa: E731
        return self._score(attempt, is_replayable(source), timeout, retry, on_event, on_retry)

    def stream(
        self,
        header: Header,
        source: PixelSource,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
    ) -> Iterator[Event]:
        """Streams one acquisition and yields the answers of the server while it is still being sent.

        Only one attempt, because yielded answers cannot be withdrawn. The end of the loop, or closing the iterator, cancels
        the acquisition. Raises SaladError; the exception of the source.
        """
        sending = Sending(header, source)
        call = self._open(calls.STREAM, sending.requests(), calls.or_default(timeout, self._timeout))
        sending.cancels_with(call.cancel)
        try:
            for response in call:
                event = event_of(response)
                if isinstance(event, Accepted):
                    sending.accepted(event)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            if sending.failure is not None:
                raise sending.failure from None
            raise error_of(error) from None
        finally:
            # gRPC would continue to send after the end of the loop.
            call.cancel()
            sending.stop()
        if sending.failure is not None:
            raise sending.failure

    def models(self, *, timeout: Union[float, None, calls.Default] = calls.DEFAULT) -> tuple[Model, ...]:
        """The loaded models, by name, then version."""
        return tuple(model_of(model) for model in self._unary(calls.LIST, calls.list_request(), timeout).models)

    def model(
        self,
        name: str,
        version: Optional[int] = None,
        *,
        timeout: Union[float, None, calls.Default] = calls.DEFAULT,
    ) -> Model:
        """One loaded model; the highest version by default. Raises SaladError NOT_FOUND."""
        return model_of(self._unary(calls.GET, calls.get_request(name, version), timeout).model)

    def health(
        self, service: str = "", *, timeout: Union[float, None, calls.Default] = calls.DEFAULT
    ) -> Optional[str]:
        """``SERVING``, ``NOT_SERVING`` or ``UNKNOWN``; None for a service that the server does not have."""
        try:
            state: str = self._unary(calls.HEALTH, service, timeout)
        except SaladError as error:
            if error.status == "NOT_FOUND":
                return None
            raise
        return state

    def _score(
        self,
        attempt: Callable[[Optional[float]], Iterator[Event]],
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
            try:
                for event in attempt(attempts.left()):
                    collector.take(event)
            except SaladError as error:
                time.sleep(attempts.failed(error))
                continue
            return calls.complete(collector.result())

    def _image_events(self, request: Any, timeout: Optional[float]) -> Iterator[Event]:
        call = self._open(calls.IMAGE, request, timeout)
        try:
            for response in call:
                event = event_of(response)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            raise error_of(error) from None
        finally:
            call.cancel()

    def _unary(self, method: calls.Method, request: Any, timeout: Union[float, None, calls.Default]) -> Any:
        try:
            return self._open(method, request, calls.or_default(timeout, self._timeout))
        except grpc.RpcError as error:
            raise error_of(error) from None

    def _open(self, method: calls.Method, request: Any, timeout: Optional[float]) -> Any:
        callable_ = method.on(self._opened_channel())
        return callable_(request, timeout=timeout, metadata=self._connection.call_metadata())

    def _opened_channel(self) -> grpc.Channel:
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            if self._channel is None or self._process != os.getpid():
                self._channel = _new_channel(self._connection)
                self._process = os.getpid()
            return self._channel


def _new_channel(connection: Connection) -> grpc.Channel:
    credentials = connection.credentials()
    options = connection.channel_options()
    if credentials is None:
        return grpc.insecure_channel(connection.target, options)
    return grpc.secure_channel(connection.target, credentials, options)
