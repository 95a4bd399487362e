"""Client for salad-serve: stream a radiograph, read patch scores while it is still being sent.

It is research software: scores rank and highlight, they never claim a diagnosis.
"""

from ._calls import DEFAULT, Default
from ._channel import Tls
from ._errors import FieldViolation, SaladError
from ._image import Image, ScoreArguments
from ._pixels import display_tiles
from ._retry import Retry, RetryNotice
from .aio import AsyncSaladClient
from .client import SaladClient
from .enums import (
    AnomalyMapFormat,
    Decision,
    EarlyEnd,
    PhotometricInterpretation,
    Priority,
    Source,
    VoiFunction,
    WarningKind,
)
from .header import Auto, Header, ImageFormat, Lut, ScoringOptions, Voi, Window
from .model import Calibration, Geometry, Model, ModelIdentity, Quantile
from .results import (
    Accepted,
    AffineTransform,
    Aggregate,
    AnomalyMap,
    ColourStop,
    Coverage,
    Event,
    NearestPrototype,
    Patch,
    Patches,
    Placement,
    Result,
    SourceBox,
    SourcePoint,
    Timings,
    TopPatch,
    Warning,
)
from .source import AsyncPixelSource, Chunk, PixelSource, Rows, Tile, Tiles

__all__ = [
    "DEFAULT",
    "Accepted",
    "AffineTransform",
    "Aggregate",
    "AnomalyMap",
    "AnomalyMapFormat",
    "AsyncPixelSource",
    "AsyncSaladClient",
    "Auto",
    "Calibration",
    "Chunk",
    "ColourStop",
    "Coverage",
    "Decision",
    "Default",
    "EarlyEnd",
    "Event",
    "FieldViolation",
    "Geometry",
    "Header",
    "Image",
    "ImageFormat",
    "Lut",
    "Model",
    "ModelIdentity",
    "NearestPrototype",
    "Patch",
    "Patches",
    "PhotometricInterpretation",
    "Placement",
    "PixelSource",
    "Priority",
    "Quantile",
    "Result",
    "Retry",
    "RetryNotice",
    "Rows",
    "SaladClient",
    "SaladError",
    "ScoreArguments",
    "ScoringOptions",
    "Source",
    "SourceBox",
    "SourcePoint",
    "Tile",
    "Tiles",
    "Timings",
    "Tls",
    "TopPatch",
    "Voi",
    "VoiFunction",
    "Warning",
    "WarningKind",
    "Window",
    "display_tiles",
]
