"""Converts the arguments of ``score`` to a header and pixels or an encoded file."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Callable, Optional, TypedDict, Union

import numpy as np

from ._dicom import frame_of, is_dataset, read_dataset
from ._gen.salad.v1 import anomaly_scoring_pb2 as pb
from ._messages import header_message
from ._pixels import Array, check_bits_stored, sendable
from .enums import AnomalyMapFormat, PhotometricInterpretation, Priority
from .header import Header, ImageFormat, ScoringOptions, Voi
from .results import Accepted, Aggregate, Event, Patches, Result

#: An array [rows, columns], a pydicom dataset, the path of a file, a binary file object, or a file's bytes.
Image = Union[Array, str, "os.PathLike[str]", bytes, IO[bytes], Any]


class ScoreArguments(TypedDict, total=False):
    """The arguments of ``score`` besides the image and the model.

    ``voi``, ``photometric_interpretation`` and the rescale replace the values of a DICOM file. ``frame`` is from 1.
    """

    version: Optional[int]
    acquisition_id: str
    bits_stored: int
    photometric_interpretation: PhotometricInterpretation
    rescale_slope: float
    rescale_intercept: float
    voi: Voi
    frame: int
    priority: Priority
    patch_scores: bool
    anomaly_map: AnomalyMapFormat
    embeddings: bool
    nearest_prototypes: int
    max_false_positive_rate: float
    top_patches: int


@dataclass(frozen=True)
class Wanted:
    """``ScoreArguments`` with their defaults."""

    model: str
    version: Optional[int] = None
    acquisition_id: Optional[str] = None
    bits_stored: int = 0
    photometric_interpretation: Optional[PhotometricInterpretation] = None
    rescale_slope: Optional[float] = None
    rescale_intercept: Optional[float] = None
    voi: Optional[Voi] = None
    frame: Optional[int] = None
    priority: Priority = Priority.UNSPECIFIED
    patch_scores: Optional[bool] = None
    anomaly_map: AnomalyMapFormat = AnomalyMapFormat.UNSPECIFIED
    embeddings: bool = False
    nearest_prototypes: int = 0
    max_false_positive_rate: Optional[float] = None
    top_patches: Optional[int] = None


@dataclass(frozen=True)
class Job:
    """A header with samples to stream, or with an encoded file."""

    header: Header
    samples: Optional[Array]
    encoded: bytes = b""

    def image_request(self) -> pb.ScoreImageRequest:
        return pb.ScoreImageRequest(header=header_message(self.header), encoded=self.encoded)


def job_of(image: Image, wanted: Wanted) -> Job:
    """Raises TypeError or ValueError for an image that cannot be scored, OSError for files that cannot be read."""
    if isinstance(image, np.ndarray):
        return _array_job(image, wanted)
    if is_dataset(image):
        return _dataset_job(image, wanted)
    if isinstance(image, (str, os.PathLike)):
        image = Path(image).read_bytes()
    elif hasattr(image, "read"):
        image = image.read()
    if not isinstance(image, (bytes, bytearray, memoryview)):
        kinds = "a numpy array, a pydicom dataset, a path, a binary file or bytes"
        raise TypeError(f"an image must be {kinds}, not {type(image).__name__}")
    content = bytes(image)
    if content[128:132] == b"DICM":
        return _dataset_job(read_dataset(io.BytesIO(content)), wanted)
    _refuse_frame(wanted)
    return Job(_header(_asked_format(ImageFormat(bits_stored=wanted.bits_stored), wanted), wanted), None, content)


def _array_job(array: Array, wanted: Wanted) -> Job:
    _refuse_frame(wanted)
    samples = sendable(array)
    check_bits_stored(samples, wanted.bits_stored)
    image = ImageFormat(
        rows=samples.shape[0],
        columns=samples.shape[1],
        bits_allocated=8 * samples.dtype.itemsize,
        bits_stored=wanted.bits_stored,
        is_signed=samples.dtype.kind == "i",
    )
    return Job(_header(_asked_format(image, wanted), wanted), samples)


def _dataset_job(dataset: Any, wanted: Wanted) -> Job:
    if wanted.bits_stored != 0:
        raise ValueError("bits_stored is for arrays and encoded files: a DICOM dataset says it itself")
    samples, image = frame_of(dataset, wanted.frame, wanted.photometric_interpretation)
    return Job(_header(_asked_format(image, wanted), wanted), samples)


def _refuse_frame(wanted: Wanted) -> None:
    if wanted.frame is not None:
        raise ValueError("frame is for DICOM only")


def _asked_format(image: ImageFormat, wanted: Wanted) -> ImageFormat:
    """Values of the caller take precedence over values of a file."""
    changes: dict[str, Any] = {
        name: getattr(wanted, name)
        for name in ("photometric_interpretation", "rescale_slope", "rescale_intercept", "voi")
        if getattr(wanted, name) is not None
    }
    return replace(image, **changes)


def _header(image: ImageFormat, wanted: Wanted) -> Header:
    options = ScoringOptions(
        patch_scores=wanted.patch_scores,
        anomaly_map=wanted.anomaly_map,
        embeddings=wanted.embeddings,
        nearest_prototypes=wanted.nearest_prototypes,
        max_false_positive_rate=wanted.max_false_positive_rate,
        top_patches=wanted.top_patches,
    )
    header = Header(
        model=wanted.model, version=wanted.version, image=image, priority=wanted.priority, options=options
    )
    return header if wanted.acquisition_id is None else replace(header, acquisition_id=wanted.acquisition_id)


@dataclass
class Collector:
    """Collects the events of one attempt."""

    on_event: Optional[Callable[[Event], None]]
    accepted: Optional[Accepted] = None
    aggregate: Optional[Aggregate] = None
    patches: list[Patches] = field(default_factory=list)

    def take(self, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)
        if isinstance(event, Accepted):
            self.accepted = event
        elif isinstance(event, Patches):
            self.patches.append(event)
        else:
            self.aggregate = event

    def result(self) -> Optional[Result]:
        """None where the call ended without an aggregate."""
        if self.accepted is None or self.aggregate is None:
            return None
        geometry = self.accepted.geometry
        shape = (geometry.patch_rows, geometry.patch_columns)
        scores, robust_z, p_values = (np.full(shape, np.nan, np.float32) for _ in range(3))
        embeddings = None
        nearest = {}
        for patch in (patch for some in self.patches for patch in some.patches):
            at = (patch.row, patch.column)
            scores[at], robust_z[at], p_values[at] = patch.score, patch.robust_z, patch.p_value
            if patch.embedding is not None:
                if embeddings is None:
                    embeddings = np.full((*shape, len(patch.embedding)), np.nan, np.float32)
                embeddings[at] = patch.embedding
            if patch.nearest_prototypes:
                nearest[at] = patch.nearest_prototypes
        return Result(
            **vars(self.aggregate),
            accepted=self.accepted,
            patch_scores=scores,
            robust_z=robust_z,
            patch_p_values=p_values,
            embeddings=embeddings,
            nearest_prototypes=nearest,
        )
