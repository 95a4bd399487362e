"""What the server says of its models."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelIdentity:
    """The identity of a loaded model."""

    name: str
    version: int
    #: SHA-256 of the bundle's manifest, hexadecimal.
    bundle_sha256: str


@dataclass(frozen=True)
class Geometry:
    """The tile grid and the patch grid of a model, in pixels of the working image."""

    working_rows: int
    working_columns: int
    #: Rows and columns of a tile's core.
    core_rows: int
    core_columns: int
    #: Pixels that the encoder sees around the core on each side.
    halo_size: int
    tile_rows: int
    tile_columns: int
    #: Patch (r, c) covers ``patch_size`` pixels from r * patch_stride + patch_offset on.
    patch_rows: int
    patch_columns: int
    patch_stride: int
    patch_size: int
    patch_offset: int


@dataclass(frozen=True)
class Quantile:
    """Of the image scores of normal images."""

    probability: float
    score: float


@dataclass(frozen=True)
class Calibration:
    """Image scores of held-out normal images."""

    count: int
    #: The smallest false-positive rate that a threshold can be made for.
    min_false_positive_rate: float
    quantiles: tuple[Quantile, ...]
    strata: int


@dataclass(frozen=True)
class Model:
    """A loaded model, and what a client must know to prepare pixels."""

    identity: ModelIdentity
    description: str
    geometry: Geometry
    #: "window": scored as rows arrive; "percentile": needs the whole image.
    intensity: str
    expected_orientation: str
    distance: str
    neighbour_count: int
    embedding_size: int
    prototype_count: int
    calibration: Calibration
    engine: str
