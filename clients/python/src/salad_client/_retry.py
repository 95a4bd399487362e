"""Retries of broken acquisitions. Scoring has no side effects, so a second attempt has the same result."""

from __future__ import annotations

import random as _random
import re
import time
from dataclasses import dataclass
from typing import Callable, Optional

from ._errors import SaladError


@dataclass(frozen=True)
class Retry:
    """How often and after which wait a broken attempt is repeated.

    ``max_attempts`` counts the first attempt too; None means 8, or with a timeout as many as fit. The wait before the
    next attempt is uniform between 0 and ``initial_backoff`` seconds, which doubles with every attempt up to
    ``max_backoff``, plus the delay that the server sent.
    """

    max_attempts: Optional[int] = None
    initial_backoff: float = 0.1
    max_backoff: float = 5.0


@dataclass(frozen=True)
class RetryNotice:
    """Sent before every further attempt: the events so far belong to an attempt that broke."""

    #: Number of the attempt about to start: 2 for the first retry.
    attempt: int
    #: The wait before it, in seconds.
    delay: float
    #: The error of the previous attempt.
    error: SaladError


_ATTEMPTS = 8
#: If not a pause but a slow source was the cause, every attempt would time out.
_IDLE_RETRIES = 1


class Attempts:
    """The state of one call with its retries.

    ``failed`` receives the error of an attempt and returns the wait before the next one; it raises the error where none
    may follow. The caller waits: with ``time.sleep``, or with ``asyncio.sleep``.
    """

    def __init__(
        self,
        retry: Optional[Retry],
        replayable: bool,
        timeout: Optional[float],
        on_retry: Optional[Callable[[RetryNotice], None]] = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._retry = retry if replayable else None
        self._clock = clock
        self._random = random
        self._on_retry = on_retry
        self._give_up_at = None if timeout is None else clock() + timeout
        self._number = 1
        self._idle_timeouts = 0

    def left(self) -> Optional[float]:
        """Seconds left for the next attempt; None without a timeout."""
        return None if self._give_up_at is None else max(0.001, self._give_up_at - self._clock())

    def failed(self, error: SaladError) -> float:
        """Seconds to wait before the next attempt. Raises the error where there is none."""
        retry = self._retry
        if retry is None or not is_broken(error):
            raise error
        limit = retry.max_attempts
        if limit is None and self._give_up_at is None:
            limit = _ATTEMPTS
        if limit is not None and self._number >= limit:
            raise error
        if error.reason == "IDLE_TIMEOUT":
            self._idle_timeouts += 1
            if self._idle_timeouts > _IDLE_RETRIES:
                raise error
        delay = self._backoff(retry) + (error.retry_after or 0.0)
        # Too little time would be left after the wait, so the error is raised now.
        if self._give_up_at is not None and delay >= self._give_up_at - self._clock():
            raise error
        self._number += 1
        if self._on_retry is not None:
            self._on_retry(RetryNotice(self._number, delay, error))
        return delay

    def _backoff(self, retry: Retry) -> float:
        """Full jitter, so that clients that were refused together do not retry together."""
        step = min(retry.max_backoff, retry.initial_backoff * 2.0 ** min(self._number - 1, 60))
        return self._random() * step


def is_broken(error: SaladError) -> bool:
    """Whether the connection or the server ended or was paused, or the server sent a retry delay."""
    if error.status == "UNAVAILABLE" or error.reason == "IDLE_TIMEOUT":
        return True
    if error.status == "RESOURCE_EXHAUSTED":
        return error.retry_after is not None
    # A reset that gRPC does not report as a broken connection. Errors of the server have a reason.
    is_reset = error.status in ("INTERNAL", "CANCELLED", "UNKNOWN")
    pattern = r"RST_STREAM|Stream removed|ECONNRESET|Connection reset"
    return is_reset and error.reason is None and re.search(pattern, error.message) is not None
