"""The header of an acquisition. Fields that are not set have the defaults of the contract."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

from .enums import AnomalyMapFormat, EarlyEnd, PhotometricInterpretation, Priority, Source, VoiFunction


@dataclass(frozen=True)
class Window:
    """VOI window in rescaled units; the width is at least 1 for LINEAR and above 0 otherwise."""

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR


@dataclass(frozen=True)
class Lut:
    """VOI look-up table: ``first_value`` maps to the first entry; entries have 8 to 16 bits."""

    first_value: int
    bits_per_entry: int
    entries: Sequence[int]


@dataclass(frozen=True)
class Auto:
    """Window from percentiles of the whole image: nothing can be scored before its last row."""

    low_percentile: Optional[float] = None
    high_percentile: Optional[float] = None


Voi = Union[Window, Lut, Auto]


@dataclass(frozen=True)
class ImageFormat:
    """Geometry and pixel semantics of the samples, as in the contract."""

    rows: int = 0
    columns: int = 0
    #: 8 or 16; 32 (float32 display values in [0, 255]) for tiles only.
    bits_allocated: int = 0
    #: 1 to ``bits_allocated``; 0 means all. Higher bits are ignored.
    bits_stored: int = 0
    is_signed: bool = False
    photometric_interpretation: PhotometricInterpretation = PhotometricInterpretation.UNSPECIFIED
    rescale_slope: Optional[float] = None
    rescale_intercept: Optional[float] = None
    #: None: the full range of the stored values, or the percentiles of the model.
    voi: Optional[Voi] = None
    row_spacing_mm: Optional[float] = None
    column_spacing_mm: Optional[float] = None


@dataclass(frozen=True)
class ScoringOptions:
    """Requested results, and the rule of the decision."""

    #: None means true.
    patch_scores: Optional[bool] = None
    anomaly_map: AnomalyMapFormat = AnomalyMapFormat.UNSPECIFIED
    #: Each patch's embedding.
    embeddings: bool = False
    #: The k nearest prototypes of each patch.
    nearest_prototypes: int = 0
    #: In (0, 1); None means 0.05, or the lowest rate that the model can keep.
    max_false_positive_rate: Optional[float] = None
    early_end: EarlyEnd = EarlyEnd.UNSPECIFIED
    #: How many top patches the aggregate lists; None means 5.
    top_patches: Optional[int] = None


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Header:
    """The header of an acquisition. ``image`` is needed for rows, tiles and raw samples; a file contains its own."""

    model: str
    image: ImageFormat = ImageFormat()
    #: None means the highest version that is loaded.
    version: Optional[int] = None
    source: Source = Source.ROWS
    priority: Priority = Priority.UNSPECIFIED
    options: ScoringOptions = ScoringOptions()
    #: The caller's own, echoed in the answers: 1 to 64 characters.
    acquisition_id: str = field(default_factory=_new_id)
