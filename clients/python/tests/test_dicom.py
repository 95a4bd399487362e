"""pydicom datasets by the rules of PS3.3, and DICOM files."""

# pydicom types its attributes by their names only.
# mypy: disable-error-code="arg-type,assignment"

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import pytest
from conftest import CELLS, SIDE, picture

from salad_client import Auto, Lut, PhotometricInterpretation, SaladClient, VoiFunction, Window
from salad_client._dicom import frame_of

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid  # noqa: E402

IMAGE = picture(3).astype(np.uint16) * 16


def dataset(pixels: npt.NDArray[Any] = IMAGE, bits_stored: int = 12, big_endian: bool = False, **tags: Any) -> Any:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset(
        None, {}, b"\0" * 128, meta, is_implicit_VR=False, is_little_endian=not big_endian
    )
    one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    one.Rows, one.Columns = pixels.shape[-2:]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = 8 * pixels.dtype.itemsize
    one.BitsStored, one.HighBit = bits_stored, bits_stored - 1
    one.PixelRepresentation = int(pixels.dtype.kind == "i")
    one.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    one["PixelData"].VR = "OW"
    if pixels.ndim == 3:
        one.NumberOfFrames = pixels.shape[0]
    for name, value in tags.items():
        setattr(one, name, value)
    return one


def saved(one: Any) -> bytes:
    file = io.BytesIO()
    one.save_as(file, **({"enforce_file_format": True} if int(pydicom.__version__[0]) >= 3 else {"write_like_original": False}))
    return file.getvalue()


def lut_item(entries: list[int], first: int, bits: int) -> Any:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = entries
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item["LUTData"].VR = "US"
    return item


def image_format(one: Any, frame: Optional[int] = None) -> Any:
    return frame_of(one, frame)[1]


def test_scores_a_dataset_as_its_pixels(client: SaladClient, tmp_path: Path) -> None:
    window = Window(2000, 3000)
    expected = client.score(IMAGE, "small", bits_stored=12, voi=window).patch_scores
    one = dataset(WindowCenter="2000", WindowWidth="3000")
    path = tmp_path / "image.dcm"
    path.write_bytes(saved(one))
    for image in (one, path, path.read_bytes(), path.open("rb")):
        result = client.score(image, "small")
        assert result.coverage.scored == CELLS
        np.testing.assert_array_equal(result.patch_scores, expected)
        if hasattr(image, "close"):
            image.close()


def test_swaps_big_endian_pixels(client: SaladClient) -> None:
    content = saved(dataset(big_endian=True, WindowCenter="2000", WindowWidth="3000"))
    assert pydicom.dcmread(io.BytesIO(content)).pixel_array.dtype.newbyteorder("=") == np.uint16
    little = client.score(dataset(WindowCenter="2000", WindowWidth="3000"), "small")
    np.testing.assert_array_equal(client.score(content, "small").patch_scores, little.patch_scores)


def test_reads_the_format() -> None:
    one = dataset(
        IMAGE.astype(np.int16) - 2048,
        RescaleSlope="2",
        RescaleIntercept="-100",
        WindowCenter=["40", "80"],
        WindowWidth=["400", "90"],
        VOILUTFunction="SIGMOID",
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        ImagerPixelSpacing=["0.2", "0.3"],
    )
    form = image_format(one)
    assert (form.rows, form.columns, form.bits_allocated, form.bits_stored, form.is_signed) == (SIDE, SIDE, 16, 12, True)
    assert (form.rescale_slope, form.rescale_intercept) == (2, -100)
    assert form.voi == Window(40, 400, VoiFunction.SIGMOID)
    assert form.photometric_interpretation is PhotometricInterpretation.MONOCHROME1
    assert (form.row_spacing_mm, form.column_spacing_mm) == (0.2, 0.3)


def test_chooses_the_voi_of_the_standard() -> None:
    table = [lut_item([0, 1000, 4095], 7, 12)]
    assert image_format(dataset(VOILUTSequence=table, WindowCenter="1", WindowWidth="2")).voi == Lut(7, 12, [0, 1000, 4095])
    assert image_format(dataset()).voi == Auto(1, 99)
    assert image_format(dataset(picture(3), 8)).voi is None
    assert image_format(dataset(WindowCenter="5", WindowWidth="0.5")).voi == Window(5, 0.5, VoiFunction.LINEAR_EXACT)
    # The first value is signed where the values are, whatever VR the file gives it.
    signed = dataset(IMAGE.astype(np.int16) - 2048, VOILUTSequence=[lut_item([0, 9], -5, 8)])
    assert image_format(signed).voi.first_value == -5


def test_applies_a_modality_lut(client: SaladClient) -> None:
    entries = [min(65535, value * 8) for value in range(4096)]
    with_table = dataset(ModalityLUTSequence=[lut_item(entries, 0, 16)], WindowCenter="16000", WindowWidth="24000")
    samples, form = frame_of(with_table, None)
    np.testing.assert_array_equal(samples, IMAGE * 8)
    assert (form.bits_allocated, form.bits_stored, form.rescale_slope) == (16, 16, None)
    rescaled = dataset(RescaleSlope="8", RescaleIntercept="0", WindowCenter="16000", WindowWidth="24000")
    np.testing.assert_array_equal(
        client.score(with_table, "small").patch_scores, client.score(rescaled, "small").patch_scores
    )
    with pytest.raises(ValueError, match="contradicts"):
        frame_of(dataset(ModalityLUTSequence=[lut_item(entries, 0, 16)], RescaleSlope="2", RescaleIntercept="0"), None)


def test_ignores_bits_above_bits_stored(client: SaladClient) -> None:
    tags = {"WindowCenter": "2000", "WindowWidth": "3000"}
    overlaid = client.score(dataset(IMAGE | 0xF000, **tags), "small")
    np.testing.assert_array_equal(overlaid.patch_scores, client.score(dataset(**tags), "small").patch_scores)


def test_scores_the_frame_that_was_asked_for(client: SaladClient) -> None:
    frames = np.stack([IMAGE, IMAGE[::-1].copy()])
    tags = {"WindowCenter": "2000", "WindowWidth": "3000"}
    many = dataset(frames, **tags)
    with pytest.raises(ValueError, match="2 frames"):
        client.score(many, "small")
    with pytest.raises(ValueError, match="frame 3"):
        client.score(many, "small", frame=3)
    expected = client.score(dataset(frames[1], **tags), "small").patch_scores
    np.testing.assert_array_equal(client.score(many, "small", frame=2).patch_scores, expected)


def test_refuses_what_is_no_grey_image_and_what_contradicts_itself() -> None:
    refused = {
        "SamplesPerPixel": dataset(SamplesPerPixel=3),
        "PALETTE COLOR": dataset(PhotometricInterpretation="PALETTE COLOR"),
        "contradicts MONOCHROME2": dataset(PresentationLUTShape="INVERSE"),
        "2 window centers": dataset(WindowCenter=["1", "2"], WindowWidth="5"),
        "VOI LUT Function CUBIC": dataset(WindowCenter="1", WindowWidth="5", VOILUTFunction="CUBIC"),
    }
    for message, one in refused.items():
        with pytest.raises(ValueError, match=message):
            frame_of(one, None)


def test_lets_the_caller_correct_a_file(client: SaladClient) -> None:
    wrong = dataset(PresentationLUTShape="INVERSE", WindowCenter="1", WindowWidth="2")
    right = dataset(WindowCenter="2000", WindowWidth="3000")
    result = client.score(
        wrong,
        "small",
        voi=Window(2000, 3000),
        photometric_interpretation=PhotometricInterpretation.MONOCHROME2,
    )
    np.testing.assert_array_equal(result.patch_scores, client.score(right, "small").patch_scores)


def test_refuses_a_second_number_of_bits(client: SaladClient) -> None:
    with pytest.raises(ValueError, match="bits_stored is for arrays"):
        client.score(dataset(), "small", bits_stored=10)
