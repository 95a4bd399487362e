"""The failure of a call, as reported by the server or the connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Union

import grpc

from ._wire import fields

DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class FieldViolation:
    """An invalid field of the request, such as ``header.image.rows``."""

    field: str
    description: str


class SaladError(Exception):
    """A call that failed.

    ``status`` is the gRPC status by name, such as ``INVALID_ARGUMENT``. ``reason`` is the stable reason that the server's
    reference of errors lists, such as ``TILE_DUPLICATE``; None where the server sent none. ``violations`` name the
    invalid fields. ``retry_after`` is the delay before another attempt, in seconds; None where a retry does not help.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        reason: Optional[str] = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.reason = reason
        self.violations = violations
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.status}{f' ({self.reason})' if self.reason else ''}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes (multiprocessing, Dask): the keyword arguments would be lost.
        details = (self.reason, self.violations, self.retry_after)
        return _rebuilt, (type(self), self.status, self.message, *details)


def _rebuilt(
    kind: type[SaladError],
    status: str,
    message: str,
    reason: Optional[str],
    violations: tuple[FieldViolation, ...],
    retry_after: Optional[float],
) -> SaladError:
    return kind(status, message, reason=reason, violations=violations, retry_after=retry_after)


def error_of(error: grpc.RpcError) -> SaladError:
    """The error of a call of grpc or grpc.aio."""
    call: Any = error
    code = call.code()
    status = code.name if code is not None else "UNKNOWN"
    details = Details()
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            details = Details.read(value)
    return SaladError(
        status,
        call.details() or "",
        reason=details.reason,
        violations=tuple(details.violations),
        retry_after=details.retry_after,
    )


@dataclass
class Details:
    """The details of google.rpc.Status: ErrorInfo, BadRequest, RetryInfo."""

    reason: Optional[str] = None
    violations: list[FieldViolation] = field(default_factory=list)
    retry_after: Optional[float] = None

    @classmethod
    def read(cls, status: bytes) -> Details:
        """Reads as far as the bytes can be read: a proxy may have cut them."""
        details = cls()
        try:
            for number, value in fields(status):
                if number == 3 and isinstance(value, bytes):
                    details._take(value)
        except ValueError:
            pass
        return details

    def _take(self, any_message: bytes) -> None:
        content = dict(fields(any_message))
        name = _text(content.get(1)).rpartition("/")[2]
        message = content.get(2, b"")
        if not isinstance(message, bytes):
            return
        if name == "google.rpc.ErrorInfo":
            self.reason = _text(dict(fields(message)).get(1)) or None
        elif name == "google.rpc.BadRequest":
            for number, violation in fields(message):
                if number == 1 and isinstance(violation, bytes):
                    parts = dict(fields(violation))
                    self.violations.append(FieldViolation(_text(parts.get(1)), _text(parts.get(2))))
        elif name == "google.rpc.RetryInfo":
            delay = dict(fields(message)).get(1, b"")
            if isinstance(delay, bytes):
                parts = dict(fields(delay))
                self.retry_after = float(_number(parts.get(1))) + _number(parts.get(2)) / 1e9


def _text(value: Union[int, bytes, None]) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _number(value: Union[int, bytes, None]) -> int:
    return value if isinstance(value, int) else 0
