"""The answers of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

import numpy as np
import numpy.typing as npt

from .enums import AnomalyMapFormat, Decision, WarningKind
from .model import Geometry, ModelIdentity

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Placement:
    """Rectangle of the source image in the working image, in working pixels; pixels around it are black."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True)
class SourcePoint:
    """In pixels of the source image, x to the right, y down; pixel i covers [i, i + 1)."""

    x: float
    y: float


@dataclass(frozen=True)
class AffineTransform:
    """From one frame of an image to another: x' = xx * x + xy * y + x0, y' = yx * x + yy * y + y0."""

    xx: float
    xy: float
    x0: float
    yx: float
    yy: float
    y0: float

    def of(self, x: float, y: float) -> SourcePoint:
        """Converts a point to the other frame."""
        return SourcePoint(self.xx * x + self.xy * y + self.x0, self.yx * x + self.yy * y + self.y0)


@dataclass(frozen=True)
class Accepted:
    """The first answer: the acquisition was accepted."""

    acquisition_id: str
    model: ModelIdentity
    engine: str
    geometry: Geometry
    #: False where the window needs the whole image.
    scores_before_last_pixel: bool
    placement: Placement
    #: From working pixels to source pixels, by the placement alone; None from a server that does not send it.
    working_to_source: Optional[AffineTransform]


@dataclass(frozen=True)
class NearestPrototype:
    """A row of the memory bank near to a patch."""

    index: int
    distance: float
    source_image_id: str


@dataclass(frozen=True)
class Patch:
    """The score of one patch at its place in the patch grid."""

    row: int
    column: int
    #: Distance to the memory bank, in the model's unit.
    score: float
    #: Robust z of the score against normal patches at this place.
    robust_z: float
    #: In (0, 1].
    p_value: float
    #: Only on request.
    embedding: Optional[Float32Array]
    nearest_prototypes: tuple[NearestPrototype, ...]


@dataclass(frozen=True)
class Patches:
    """Patch scores that are ready, in completion order."""

    patches: tuple[Patch, ...]
    #: From working pixels to source pixels, of an image that was aligned; None: that of ``Accepted`` applies.
    working_to_source: Optional[AffineTransform]


@dataclass(frozen=True)
class SourceBox:
    """In pixels of the source image; right and bottom are exclusive."""

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True)
class TopPatch:
    """One of the highest patches."""

    row: int
    column: int
    score: float
    robust_z: float
    p_value: float
    #: Clipped to the image; where alignment rotated the image, the smallest upright box around the patch.
    box: SourceBox
    #: The patch itself, clockwise from the top left corner, not clipped; empty from a server that does not send it.
    corners: tuple[SourcePoint, ...]


@dataclass(frozen=True)
class Coverage:
    """Patches by outcome; the four add up to the patch grid."""

    scored: int
    #: Background: not scored, and not normal.
    skipped: int
    failed: int
    #: Pixels never received.
    missing: int
    #: Row and column of tiles never received.
    missing_tiles: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ColourStop:
    """The colour of a robust z in the overlay; between stops colours are linear."""

    robust_z: float
    #: Share of calibration patches with a robust z at least this high: no claim about an image.
    p_value: float
    #: 0 to 255.
    red: int
    green: int
    blue: int
    #: Over the grey image, in [0, 1].
    opacity: float


@dataclass(frozen=True)
class AnomalyMap:
    """In the geometry of the source image; its longer side has up to 512 pixels."""

    format: AnomalyMapFormat
    rows: int
    columns: int
    #: A PNG file, or little-endian float32.
    data: bytes
    #: From pixels of the map to source pixels; None from a server whose maps are in the working frame.
    map_to_source: Optional[AffineTransform]
    working_to_source: Optional[AffineTransform]
    #: Ascending; the first is the colour of the threshold, below which nothing is coloured.
    scale: tuple[ColourStop, ...]
    #: The corners of the area that counts for the image score.
    counting_area: tuple[SourcePoint, ...]

    def array(self) -> Float32Array:
        """Robust z, float32 [rows, columns], NaN where nothing that counts was scored. Raises ValueError for a PNG."""
        if self.format is not AnomalyMapFormat.FLOAT32:
            raise ValueError(f"the map is {self.format.name}: ask for AnomalyMapFormat.FLOAT32")
        return np.frombuffer(self.data, "<f4").reshape(self.rows, self.columns).astype(np.float32)


@dataclass(frozen=True)
class Timings:
    """In milliseconds, except ``batch_fill``, a share in (0, 1]."""

    queue_ms: float
    compute_ms: float
    total_ms: float
    first_score_ms: Optional[float]
    batch_fill: float


@dataclass(frozen=True)
class Warning:
    """A warning of an acquisition that was scored."""

    kind: WarningKind
    message: str


@dataclass(frozen=True)
class Aggregate:
    """The last answer to an acquisition."""

    acquisition_id: str
    #: Higher is less normal; NaN where nothing was scored.
    image_score: float
    #: Conformal, in (0, 1].
    p_value: float
    decision: Decision
    #: The image score above which the decision is ANOMALOUS.
    threshold: float
    max_false_positive_rate: float
    coverage: Coverage
    #: Highest robust z first.
    top_patches: tuple[TopPatch, ...]
    anomaly_map: Optional[AnomalyMap]
    model: ModelIdentity
    engines: tuple[str, ...]
    timings: Timings
    warnings: tuple[Warning, ...]
    search: str
    precisions: tuple[str, ...]


Event = Union[Accepted, Patches, Aggregate]


@dataclass(frozen=True)
class Result(Aggregate):
    """An acquisition's aggregate and its patches as arrays of [patch_rows, patch_columns].

    Patches that were not scored are NaN. Without patch scores (``ScoringOptions``) all of them are.
    """

    accepted: Accepted
    patch_scores: Float32Array
    robust_z: Float32Array
    patch_p_values: Float32Array
    #: float32 [patch_rows, patch_columns, embedding size], on request.
    embeddings: Optional[Float32Array]
    #: By row and column, on request.
    nearest_prototypes: dict[tuple[int, int], tuple[NearestPrototype, ...]]

    def map_of_source(self) -> Float32Array:
        """The FLOAT32 anomaly map, which covers the source image from edge to edge."""
        if self.anomaly_map is None:
            raise ValueError("no anomaly map was requested")
        whole = self.anomaly_map.array()
        if self.anomaly_map.map_to_source is not None:
            return whole
        # From a server whose maps are in the working frame: the rectangle of the source in it.
        place = self.accepted.placement
        return whole[place.top : place.top + place.rows, place.left : place.left + place.columns]
