"""The connection of a client and its credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

import grpc

#: Servers refuse pings at shorter intervals than 10 s.
KEEPALIVE_MIN = 10.0
Token = Union[str, Callable[[], str]]


@dataclass(frozen=True)
class Tls:
    """PEM texts. Defaults: the system's authorities are trusted, no client certificate is sent."""

    #: Authorities that may have issued the server's certificate.
    ca: Optional[bytes] = None
    #: The client's certificate and chain, for a server that requires one.
    certificate: Optional[bytes] = None
    private_key: Optional[bytes] = None


@dataclass(frozen=True)
class Connection:
    """Connection settings of both clients. No connection is opened before the first call."""

    target: str
    tls: Union[Tls, bool]
    token: Optional[Token]
    api_key: Optional[str]
    metadata: Mapping[str, str]
    max_receive_bytes: int
    keepalive: float
    balancing: str
    options: Sequence[tuple[str, Any]]

    def __post_init__(self) -> None:
        if self.keepalive < KEEPALIVE_MIN:
            raise ValueError(f"keepalive must be at least {KEEPALIVE_MIN} s: servers cut connections that ping sooner")
        if self.balancing not in ("round_robin", "pick_first"):
            raise ValueError("balancing must be 'round_robin' or 'pick_first'")

    def credentials(self) -> Optional[grpc.ChannelCredentials]:
        """None for plaintext."""
        if self.tls is False:
            return None
        tls = Tls() if self.tls is True else self.tls
        return grpc.ssl_channel_credentials(tls.ca, tls.private_key, tls.certificate)

    def call_metadata(self) -> list[tuple[str, str]]:
        """Called for every attempt, so that tokens may change."""
        pairs = list(self.metadata.items())
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            pairs.append(("authorization", f"Bearer {token}"))
        if self.api_key is not None:
            pairs.append(("x-api-key", self.api_key))
        return pairs

    def channel_options(self) -> list[tuple[str, Any]]:
        service_config: dict[str, Any] = {"loadBalancingConfig": [{self.balancing: {}}]}
        return [
            ("grpc.service_config", json.dumps(service_config)),
            ("grpc.max_receive_message_length", self.max_receive_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", round(self.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", 10_000),
            # By default gRPC stops to ping after two pings without data between them.
            ("grpc.http2.max_pings_without_data", 0),
            # gRPC waits up to two minutes; a client should reconnect soon after its server restarted.
            ("grpc.initial_reconnect_backoff_ms", 200),
            # Also the time limit of a connection's handshakes.
            ("grpc.min_reconnect_backoff_ms", 2000),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # Without this, all clients of a process share one connection.
            ("grpc.use_local_subchannel_pool", 1),
            *self.options,
        ]
