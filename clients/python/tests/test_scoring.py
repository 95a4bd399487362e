"""Images in, results out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CELLS, SIDE, Server, bands, header, picture
from PIL import Image

from salad_client import (
    Accepted,
    Aggregate,
    AnomalyMapFormat,
    Auto,
    Decision,
    Header,
    ImageFormat,
    Patches,
    PhotometricInterpretation,
    Result,
    Rows,
    SaladClient,
    SaladError,
    Source,
    Tiles,
    VoiFunction,
    Window,
    display_tiles,
)

IMAGE = picture(3)


def same(one: Result, other: Result) -> None:
    np.testing.assert_array_equal(one.patch_scores, other.patch_scores)
    assert one.image_score == other.image_score
    assert one.decision is other.decision


def test_gives_one_result_for_every_kind_of_source(client: SaladClient) -> None:
    chunks = bands(IMAGE)

    def generator() -> Iterator[Any]:
        yield from chunks

    rows = [Rows(8 * index, band.tobytes()) for index, band in enumerate(chunks)]
    sources: list[Any] = [IMAGE, chunks, tuple(rows), lambda accepted: generator(), generator()]
    results = [client.score_acquisition(header(), source) for source in sources]
    assert results[0].coverage.scored == CELLS
    assert results[0].patch_scores.shape == (8, 8)
    assert np.isfinite(results[0].patch_scores).all()
    assert results[0].decision in (Decision.NORMAL, Decision.ANOMALOUS)
    for result in results[1:]:
        same(result, results[0])


def test_tells_what_it_was_asked_for(client: SaladClient) -> None:
    result = client.score(
        IMAGE,
        "small",
        acquisition_id="study-17",
        anomaly_map=AnomalyMapFormat.FLOAT32,
        embeddings=True,
        nearest_prototypes=2,
        top_patches=3,
    )
    assert result.acquisition_id == result.accepted.acquisition_id == "study-17"
    assert result.model.name == "small" and len(result.model.bundle_sha256) == 64
    assert result.embeddings is not None
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=2), 1, atol=1e-5)
    assert all(len(near) == 2 for near in result.nearest_prototypes.values())
    assert len(result.nearest_prototypes) == CELLS
    assert [patch.robust_z for patch in result.top_patches] == sorted(result.robust_z.ravel(), reverse=True)[:3]
    assert result.map_of_source().shape == (SIDE, SIDE)
    top, transform = result.top_patches[0], result.accepted.working_to_source
    geometry = result.accepted.geometry
    assert transform is not None and result.anomaly_map is not None
    # The place of a patch follows from its row and column, the geometry and the transform alone.
    left = top.column * geometry.patch_stride + geometry.patch_offset
    upper = top.row * geometry.patch_stride + geometry.patch_offset
    assert top.corners[0] == transform.of(left, upper)
    assert top.corners[2] == transform.of(left + geometry.patch_size, upper + geometry.patch_size)
    assert len(result.anomaly_map.counting_area) == 4 and result.anomaly_map.map_to_source is not None
    zs = [stop.robust_z for stop in result.anomaly_map.scale]
    assert zs == sorted(zs) and zs[0] == pytest.approx(result.threshold)
    assert result.timings.total_ms > 0 and result.engines == ("onnx",)
    with pytest.raises(ValueError, match="no anomaly map"):
        client.score(IMAGE, "small").map_of_source()


def test_gives_no_patches_where_none_were_wanted(client: SaladClient) -> None:
    result = client.score(IMAGE, "small", patch_scores=False)
    assert np.isnan(result.patch_scores).all() and result.coverage.scored == CELLS


def test_takes_files_by_path_object_and_bytes(client: SaladClient, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(IMAGE).save(path)
    content = path.read_bytes()
    expected = client.score(IMAGE, "small")
    for image in (path, str(path), content, io.BytesIO(content)):
        same(client.score(image, "small"), expected)
    with pytest.raises(FileNotFoundError):
        client.score(tmp_path / "none.png", "small")
    with pytest.raises(TypeError, match="not list"):
        client.score([[1, 2], [3, 4]], "small")


def test_streams_events_while_it_sends(client: SaladClient) -> None:
    events = list(client.stream(header(), bands(IMAGE)))
    assert isinstance(events[0], Accepted) and events[0].scores_before_last_pixel
    assert isinstance(events[-1], Aggregate)
    patches = [patch for event in events if isinstance(event, Patches) for patch in event.patches]
    assert len({(patch.row, patch.column) for patch in patches}) == CELLS


def test_sends_windows_rescale_and_photometric_interpretation(client: SaladClient) -> None:
    wide = IMAGE.astype(np.uint16) * 16
    twelve = client.score(wide, "small", bits_stored=12, voi=Window(2048, 4096, VoiFunction.LINEAR_EXACT))
    signed = client.score((wide.astype(np.int16) - 2048), "small", bits_stored=12, voi=Window(0.5, 4096))
    np.testing.assert_allclose(twelve.patch_scores, signed.patch_scores, atol=0.02)
    one = client.score(255 - IMAGE, "small", photometric_interpretation=PhotometricInterpretation.MONOCHROME1)
    np.testing.assert_allclose(one.patch_scores, client.score(IMAGE, "small").patch_scores, atol=1e-6)
    auto = client.score(IMAGE, "small", voi=Auto())
    assert not auto.accepted.scores_before_last_pixel
    with pytest.raises(ValueError, match="do not fit in bits_stored=10"):
        client.score(wide, "small", bits_stored=10)


def test_cuts_tiles_that_score_as_rows(client: SaladClient) -> None:
    for model, shape in (("small", (SIDE, SIDE)), ("padded", (SIDE, SIDE // 2))):
        image = picture(5, *shape)
        form = ImageFormat(rows=shape[0], columns=shape[1], bits_allocated=32, bits_stored=8)
        tiles = Header(model, form, source=Source.TILES)

        def cut(accepted: Accepted, display: Any = image) -> Iterator[Tiles]:
            return display_tiles(accepted, display, 3)

        result = client.score_acquisition(tiles, cut)
        expected = client.score(image, model)
        np.testing.assert_array_equal(result.patch_scores, expected.patch_scores)
        with pytest.raises(ValueError, match="display values must be"):
            client.score_acquisition(tiles, lambda accepted: display_tiles(accepted, picture(1, 2, 2)))


def test_lists_and_names_the_models(client: SaladClient) -> None:
    assert [(model.identity.name, model.identity.version) for model in client.models()] == [
        ("padded", 1),
        ("small", 1),
        ("small", 2),
        ("stretched", 1),
    ]
    assert client.model("small").identity.version == 2
    model = client.model("small", 1)
    assert model.calibration.count == 99 and model.calibration.quantiles[-1].probability == 1
    with pytest.raises(SaladError) as caught:
        client.model("nobody")
    assert (caught.value.status, caught.value.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")


def test_asks_for_health(client: SaladClient) -> None:
    assert client.health() == client.health("salad.v1.AnomalyScoring") == "SERVING"
    assert client.health("nobody") is None


def test_names_the_fields_at_fault(client: SaladClient) -> None:
    with pytest.raises(SaladError) as caught:
        client.score_acquisition(header(rows=0), IMAGE)
    error = caught.value
    assert (error.status, error.reason) == ("INVALID_ARGUMENT", "HEADER_INVALID")
    assert [violation.field for violation in error.violations] == ["header.image.rows"]
    assert "HEADER_INVALID" in str(error) and error.retry_after is None


def test_speaks_tls_and_shows_credentials(servers: Any) -> None:
    from salad_client import Tls

    server: Server = servers.start(tls=True, api_keys=True)
    ca = server.answer["ca"].encode()
    with SaladClient(server.address, tls=Tls(ca=ca), api_key=server.answer["apiKey"]) as client:
        assert client.score(IMAGE, "small").coverage.scored == CELLS
    with SaladClient(server.address, tls=Tls(ca=ca), retry=None) as client, pytest.raises(SaladError) as caught:
        client.score(IMAGE, "small")
    assert caught.value.reason == "CREDENTIALS_MISSING"
    with SaladClient(server.address, tls=True, retry=None) as client, pytest.raises(SaladError) as caught:
        client.score(IMAGE, "small")
    assert caught.value.status == "UNAVAILABLE"
    server.stop()
