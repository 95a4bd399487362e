"""The sending half of a call of the synchronous client: gRPC reads it from a separate thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np

from ._gen.salad.v1 import anomaly_scoring_pb2 as pb
from ._pixels import rows_of
from ._requests import Requests, header_request
from .header import Header
from .results import Accepted
from .source import Chunk, PixelSource


class Sending:
    """Requests of one attempt, made when gRPC requests them.

    An exception of the source would be lost: gRPC logs it and fails the call as UNKNOWN. It is kept in ``failure``, and
    the call is cancelled. After the end of the call the source is not read any more, and is closed.
    """

    def __init__(self, header: Header, source: PixelSource) -> None:
        self.failure: Optional[BaseException] = None
        self._header = header
        self._source = source
        self._accepted: queue.SimpleQueue[Optional[Accepted]] = queue.SimpleQueue()
        self._chunks: Optional[Iterator[Chunk]] = None
        # Held while the source works: a generator that runs cannot be closed.
        self._working = threading.Lock()
        self._over = False
        self._cancel: Callable[[], object] = lambda: None

    def cancels_with(self, cancel: Callable[[], object]) -> None:
        """Sets the function that cancels the call where the source fails."""
        self._cancel = cancel
        if self.failure is not None:
            cancel()

    def accepted(self, accepted: Accepted) -> None:
        """Starts a source that is a function."""
        self._accepted.put(accepted)

    def stop(self) -> None:
        """Ends the source after the end of the call."""
        self._over = True
        self._accepted.put(None)
        # A source that is running is closed by its own thread as soon as it returns.
        if self._working.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._working.release()

    def requests(self) -> Iterator[pb.StreamAcquisitionRequest]:
        requests = Requests()
        try:
            yield header_request(self._header)
            while (chunk := self._next()) is not None:
                yield requests.of(chunk)
            if not self._over:
                yield requests.end()
        except GeneratorExit:
            raise
        except BaseException as failure:  # noqa: BLE001: it is raised again where the caller can see it
            self.failure = failure
            self._cancel()

    def _next(self) -> Optional[Chunk]:
        """None at the end of the source, and after the end of the call."""
        with self._working:
            if self._over:
                self._close()
                return None
            if self._chunks is None:
                self._chunks = self._open()
            chunk = None if self._chunks is None else next(self._chunks, None)
            if self._over:
                self._close()
                return None
            return chunk

    def _open(self) -> Optional[Iterator[Chunk]]:
        source = self._source
        if isinstance(source, np.ndarray):
            return rows_of(source)
        if not callable(source):
            return iter(source)
        accepted = self._accepted.get()
        return None if accepted is None else iter(source(accepted))

    def _close(self) -> None:
        chunks, self._chunks = self._chunks, None
        close: Any = getattr(chunks, "close", None)
        if close is not None:
            close()
