"""A pydicom dataset as samples and their format, by the rules of DICOM PS3.3 C.7.6.3 and C.11."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

import numpy as np

from ._pixels import Array, sendable
from .enums import PhotometricInterpretation, VoiFunction
from .header import Auto, ImageFormat, Lut, Voi, Window

_FUNCTIONS = {
    "LINEAR": VoiFunction.LINEAR,
    "LINEAR_EXACT": VoiFunction.LINEAR_EXACT,
    "SIGMOID": VoiFunction.SIGMOID,
}


def is_dataset(value: object) -> bool:
    """Whether it is a pydicom dataset; pydicom is not imported for it."""
    return any(kind.__module__.startswith("pydicom.") and kind.__name__ == "Dataset" for kind in type(value).__mro__)


def read_dataset(file: Any) -> Any:
    """Reads a DICOM file. Raises ImportError without pydicom."""
    try:
        import pydicom
    except ImportError:
        raise ImportError("DICOM files need pydicom: pip install 'salad-client[dicom]'") from None
    return pydicom.dcmread(file)


def frame_of(
    dataset: Any, frame: Optional[int], photometric: Optional[PhotometricInterpretation] = None
) -> tuple[Array, ImageFormat]:
    """Samples [rows, columns] of one frame, from 1, and their format; ``photometric`` replaces the value of the dataset.

    Raises ValueError for colour, for a file of several frames without ``frame``, and for attributes that contradict each
    other; the exception of pydicom where it cannot decode the pixels.
    """
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ValueError("colour images are refused: SamplesPerPixel is not 1")
    frames = int(dataset.get("NumberOfFrames", None) or 1)
    if frame is None and frames > 1:
        raise ValueError(f"the dataset has {frames} frames: say which one with frame=1 to {frames}")
    if not 1 <= (frame or 1) <= frames:
        raise ValueError(f"frame {frame} is not between 1 and {frames}")
    pixels = dataset.pixel_array
    samples = sendable(pixels[(frame or 1) - 1] if frames > 1 else pixels)
    image = ImageFormat(
        rows=samples.shape[0],
        columns=samples.shape[1],
        bits_allocated=8 * samples.dtype.itemsize,
        bits_stored=min(int(dataset.BitsStored), 8 * samples.dtype.itemsize),
        is_signed=samples.dtype.kind == "i",
        photometric_interpretation=_photometric(dataset) if photometric is None else photometric,
    )
    samples, image = _with_modality(dataset, samples, image)
    return samples, replace(_with_spacing(dataset, image), voi=_voi(dataset, image))


def _photometric(dataset: Any) -> PhotometricInterpretation:
    name = str(dataset.PhotometricInterpretation).strip()
    if name not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"Photometric Interpretation {name} is refused: only MONOCHROME1 and MONOCHROME2 are scored")
    shape = dataset.get("PresentationLUTShape", None)
    if shape is not None and (shape == "INVERSE") != (name == "MONOCHROME1"):
        raise ValueError(f"Presentation LUT Shape {shape} contradicts {name}: say which one is right and correct the other")
    return PhotometricInterpretation[name]


def _with_modality(dataset: Any, samples: Array, image: ImageFormat) -> tuple[Array, ImageFormat]:
    """A rescale is sent in the header; a Modality LUT is applied here."""
    slope, intercept = dataset.get("RescaleSlope", None), dataset.get("RescaleIntercept", None)
    sequence = dataset.get("ModalityLUTSequence", None)
    if not sequence:
        return samples, replace(
            image,
            rescale_slope=None if slope is None else float(slope),
            rescale_intercept=None if intercept is None else float(intercept),
        )
    if float(slope or 1) != 1 or float(intercept or 0) != 0:
        raise ValueError("the dataset has a Modality LUT and a rescale that contradicts it")
    lut = _lut(sequence[0], image.is_signed)
    entries = np.array(lut.entries, np.uint16)
    stored = _stored(samples, image).astype(np.int64) - lut.first_value
    values = entries[np.clip(stored, 0, len(entries) - 1)]
    return values, replace(image, bits_allocated=16, bits_stored=lut.bits_per_entry, is_signed=False)


def _stored(samples: Array, image: ImageFormat) -> Array:
    """Without the bits above Bits Stored, which may hold overlays."""
    unused = image.bits_allocated - image.bits_stored
    return (samples << unused) >> unused


def _lut(item: Any, is_signed: bool) -> Lut:
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count or 65536
    # The first value mapped is signed if the input values are (C.11.1.1.1); pydicom may read it unsigned.
    if is_signed and first > 0x7FFF:
        first -= 0x10000
    data = item.LUTData
    if isinstance(data, bytes):
        entries = np.frombuffer(data, np.uint8 if len(data) == count else "<u2")
    else:
        entries = np.atleast_1d(np.array(data, np.int64)) & 0xFFFF
    if len(entries) != count:
        raise ValueError(f"a look-up table says that it has {count} entries, and has {len(entries)}")
    return Lut(first, bits, [int(entry) for entry in entries])


def _voi(dataset: Any, image: ImageFormat) -> Optional[Voi]:
    """The first VOI LUT, else the first window, else the full range of 8 bits or percentiles of more."""
    sequence = dataset.get("VOILUTSequence", None)
    if sequence:
        slope, intercept = image.rescale_slope or 1.0, image.rescale_intercept or 0.0
        return _lut(sequence[0], image.is_signed or slope < 0 or intercept < 0)
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if len(centers) != len(widths):
        raise ValueError(f"the dataset has {len(centers)} window centers, but {len(widths)} widths")
    if centers:
        name = str(dataset.get("VOILUTFunction", None) or "LINEAR")
        if name not in _FUNCTIONS:
            raise ValueError(f"VOI LUT Function {name} is none of {', '.join(_FUNCTIONS)}")
        # LINEAR does not allow a width below 1.
        narrow = name == "LINEAR" and 0 < widths[0] < 1
        return Window(centers[0], widths[0], VoiFunction.LINEAR_EXACT if narrow else _FUNCTIONS[name])
    is_identity = (image.rescale_slope or 1.0) == 1.0 and (image.rescale_intercept or 0.0) == 0.0
    return None if is_identity and image.bits_stored <= 8 else Auto(1, 99)


def _numbers(dataset: Any, keyword: str) -> list[float]:
    value = dataset.get(keyword, None)
    if value is None or value == "":
        return []
    return [float(each) for each in ([value] if np.isscalar(value) or not hasattr(value, "__iter__") else value)]


def _with_spacing(dataset: Any, image: ImageFormat) -> ImageFormat:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = _numbers(dataset, keyword)
        if len(spacing) == 2:
            return replace(image, row_spacing_mm=spacing[0], column_spacing_mm=spacing[1])
    return image
