"""The calls of the contract, for channels of grpc and of grpc.aio."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar, Union

from ._errors import SaladError
from ._gen.salad.v1 import anomaly_scoring_pb2 as scoring_pb2
from ._gen.salad.v1 import model_registry_pb2 as registry_pb2
from ._gen.salad.v1 import types_pb2
from ._wire import fields
from .results import Result

T = TypeVar("T")


class Default(enum.Enum):
    """The default of an option of a call; None would mean "none"."""

    DEFAULT = "that of the client"


DEFAULT = Default.DEFAULT


def or_default(value: Union[T, Default], default: T) -> T:
    return default if isinstance(value, Default) else value


@dataclass(frozen=True)
class Method:
    """A method of a service, and how its messages are written and read."""

    kind: str
    path: str
    serialize: Callable[[Any], bytes]
    deserialize: Callable[[bytes], Any]

    def on(self, channel: Any) -> Any:
        """The method on a channel."""
        of_kind = getattr(channel, self.kind)
        return of_kind(self.path, request_serializer=self.serialize, response_deserializer=self.deserialize)


def list_request() -> registry_pb2.ModelRegistryListRequest:
    return registry_pb2.ModelRegistryListRequest()


def get_request(name: str, version: Optional[int]) -> registry_pb2.ModelRegistryGetRequest:
    return registry_pb2.ModelRegistryGetRequest(model=types_pb2.ModelSelector(name=name, version=version))


def complete(result: Optional[Result]) -> Result:
    if result is None:
        raise SaladError("INTERNAL", "the server ended the call without an aggregate")
    return result


_HEALTH_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING")


def _health_request(service: str) -> bytes:
    """grpc.health.v1 has one string in and one number out: no generated code."""
    name = service.encode()
    if len(name) > 127:
        raise ValueError("names of services have at most 127 bytes")
    return b"\x0a" + bytes([len(name)]) + name


def _health_response(message: bytes) -> str:
    state = dict(fields(message)).get(1, 0)
    return _HEALTH_STATES[state] if isinstance(state, int) and state < len(_HEALTH_STATES) else "UNKNOWN"


STREAM = Method(
    "stream_stream",
    "/salad.v1.AnomalyScoring/StreamAcquisition",
    scoring_pb2.StreamAcquisitionRequest.SerializeToString,
    scoring_pb2.StreamAcquisitionResponse.FromString,
)
IMAGE = Method(
    "unary_stream",
    "/salad.v1.AnomalyScoring/ScoreImage",
    scoring_pb2.ScoreImageRequest.SerializeToString,
    # Field for field the same message.
    scoring_pb2.StreamAcquisitionResponse.FromString,
)
LIST = Method(
    "unary_unary",
    "/salad.v1.ModelRegistry/List",
    registry_pb2.ModelRegistryListRequest.SerializeToString,
    registry_pb2.ModelRegistryListResponse.FromString,
)
GET = Method(
    "unary_unary",
    "/salad.v1.ModelRegistry/Get",
    registry_pb2.ModelRegistryGetRequest.SerializeToString,
    registry_pb2.ModelRegistryGetResponse.FromString,
)
HEALTH = Method("unary_unary", "/grpc.health.v1.Health/Check", _health_request, _health_response)
