"""Converts between the generated messages and the public types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

import numpy as np

from ._gen.salad.v1 import anomaly_scoring_pb2 as scoring_pb2
from ._gen.salad.v1 import model_registry_pb2 as registry_pb2
from ._gen.salad.v1 import types_pb2
from .enums import AnomalyMapFormat, Decision, WarningKind
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
    SourceBox,
    SourcePoint,
    Timings,
    TopPatch,
    Warning,
)


def header_message(header: Header) -> types_pb2.AcquisitionHeader:
    return types_pb2.AcquisitionHeader(
        acquisition_id=header.acquisition_id,
        model=types_pb2.ModelSelector(name=header.model, version=header.version),
        image=_image_message(header.image),
        source=int(header.source),  # type: ignore[arg-type]
        priority=int(header.priority),  # type: ignore[arg-type]
        options=_options_message(header.options),
    )


def _image_message(image: ImageFormat) -> types_pb2.ImageFormat:
    return types_pb2.ImageFormat(
        rows=image.rows,
        columns=image.columns,
        bits_allocated=image.bits_allocated,
        bits_stored=image.bits_stored,
        is_signed=image.is_signed,
        photometric_interpretation=int(image.photometric_interpretation),  # type: ignore[arg-type]
        rescale_slope=image.rescale_slope,
        rescale_intercept=image.rescale_intercept,
        voi=_voi_message(image.voi),
        row_spacing_mm=image.row_spacing_mm,
        column_spacing_mm=image.column_spacing_mm,
    )


def _voi_message(voi: Optional[Voi]) -> Optional[types_pb2.VoiTransform]:
    if voi is None:
        return None
    if isinstance(voi, Window):
        function = int(voi.function)
        window = types_pb2.VoiWindow(
            center=voi.center,
            width=voi.width,
            function=function,  # type: ignore[arg-type]
        )
        return types_pb2.VoiTransform(window=window)
    if isinstance(voi, Lut):
        lut = types_pb2.VoiLut(
            first_value=voi.first_value,
            bits_per_entry=voi.bits_per_entry,
            entries=voi.entries,
        )
        return types_pb2.VoiTransform(lut=lut)
    if isinstance(voi, Auto):
        auto = types_pb2.VoiAuto(low_percentile=voi.low_percentile, high_percentile=voi.high_percentile)
        return types_pb2.VoiTransform(auto=auto)
    raise TypeError(f"voi must be Window, Lut or Auto, not {type(voi).__name__}")


def _options_message(options: ScoringOptions) -> types_pb2.ScoringOptions:
    return types_pb2.ScoringOptions(
        patch_scores=options.patch_scores,
        anomaly_map=int(options.anomaly_map),  # type: ignore[arg-type]
        embeddings=options.embeddings,
        nearest_prototypes=options.nearest_prototypes,
        max_false_positive_rate=options.max_false_positive_rate,
        early_end=int(options.early_end),  # type: ignore[arg-type]
        top_patches=options.top_patches,
    )


def event_of(response: scoring_pb2.StreamAcquisitionResponse) -> Optional[Event]:
    """None for an unknown payload, of a newer server."""
    which = response.WhichOneof("payload")
    if which == "patch_scores":
        scores = response.patch_scores
        transform = _transform_of(scores.working_to_source) if scores.HasField("working_to_source") else None
        return Patches(tuple(_patch_of(patch) for patch in scores.patches), transform)
    if which == "accepted":
        return _accepted_of(response.accepted)
    if which == "aggregate":
        return _aggregate_of(response.aggregate)
    return None


def _accepted_of(message: types_pb2.AcquisitionAccepted) -> Accepted:
    geometry = _geometry_of(message.geometry)
    place = message.placement
    if message.HasField("placement"):
        placement = Placement(place.top, place.left, place.rows, place.columns)
    else:
        # A server that sends no placement stretches the image over the whole working image.
        placement = Placement(0, 0, geometry.working_rows, geometry.working_columns)
    return Accepted(
        acquisition_id=message.acquisition_id,
        model=_identity_of(message.model),
        engine=message.engine,
        geometry=geometry,
        scores_before_last_pixel=message.scores_before_last_pixel,
        placement=placement,
        working_to_source=_transform_of(message.working_to_source) if message.HasField("working_to_source") else None,
    )


def _transform_of(message: types_pb2.AffineTransform) -> AffineTransform:
    return AffineTransform(message.xx, message.xy, message.x0, message.yx, message.yy, message.y0)


def _points_of(points: Iterable[types_pb2.SourcePoint]) -> tuple[SourcePoint, ...]:
    return tuple(SourcePoint(point.x, point.y) for point in points)


def _geometry_of(message: types_pb2.Geometry) -> Geometry:
    return Geometry(
        working_rows=message.working_rows,
        working_columns=message.working_columns,
        core_rows=message.core_size,
        # A server of an older version, with square tiles only, does not send the columns.
        core_columns=message.core_columns or message.core_size,
        halo_size=message.halo_size,
        tile_rows=message.tile_rows,
        tile_columns=message.tile_columns,
        patch_rows=message.patch_rows,
        patch_columns=message.patch_columns,
        patch_stride=message.patch_stride,
        patch_size=message.patch_size,
        patch_offset=message.patch_offset,
    )


def _identity_of(message: types_pb2.ModelIdentity) -> ModelIdentity:
    return ModelIdentity(message.name, message.version, message.bundle_sha256)


def _patch_of(message: types_pb2.PatchScore) -> Patch:
    nearest = tuple(
        NearestPrototype(near.index, near.distance, near.source_image_id) for near in message.nearest_prototypes
    )
    return Patch(
        row=message.row,
        column=message.column,
        score=message.score,
        robust_z=message.robust_z,
        p_value=message.p_value,
        embedding=np.array(message.embedding, np.float32) if message.embedding else None,
        nearest_prototypes=nearest,
    )


def _aggregate_of(message: types_pb2.AcquisitionAggregate) -> Aggregate:
    return Aggregate(
        acquisition_id=message.acquisition_id,
        image_score=message.image_score,
        p_value=message.p_value,
        decision=Decision(message.decision),
        threshold=message.threshold,
        max_false_positive_rate=message.max_false_positive_rate,
        coverage=_coverage_of(message.coverage),
        top_patches=tuple(_top_patch_of(patch) for patch in message.top_patches),
        anomaly_map=_map_of(message.anomaly_map) if message.HasField("anomaly_map") else None,
        model=_identity_of(message.model),
        engines=tuple(message.engines),
        timings=_timings_of(message.timings),
        warnings=tuple(Warning(WarningKind(one.kind), one.message) for one in message.warnings),
        search=message.search,
        precisions=tuple(message.precisions),
    )


def _coverage_of(message: types_pb2.Coverage) -> Coverage:
    return Coverage(
        scored=message.scored,
        skipped=message.skipped,
        failed=message.failed,
        missing=message.missing,
        missing_tiles=tuple((tile.row, tile.column) for tile in message.missing_tiles),
    )


def _top_patch_of(message: types_pb2.TopPatch) -> TopPatch:
    box = message.box
    return TopPatch(
        row=message.row,
        column=message.column,
        score=message.score,
        robust_z=message.robust_z,
        p_value=message.p_value,
        box=SourceBox(box.top, box.left, box.bottom, box.right),
        corners=_points_of(message.corners),
    )


def _map_of(message: types_pb2.AnomalyMap) -> AnomalyMap:
    return AnomalyMap(
        format=AnomalyMapFormat(message.format),
        rows=message.rows,
        columns=message.columns,
        data=message.data,
        map_to_source=_transform_of(message.map_to_source) if message.HasField("map_to_source") else None,
        working_to_source=_transform_of(message.working_to_source) if message.HasField("working_to_source") else None,
        scale=tuple(
            ColourStop(stop.robust_z, stop.p_value, stop.red, stop.green, stop.blue, stop.opacity)
            for stop in message.scale
        ),
        counting_area=_points_of(message.counting_area),
    )


def _timings_of(message: types_pb2.Timings) -> Timings:
    return Timings(
        queue_ms=message.queue_ms,
        compute_ms=message.compute_ms,
        total_ms=message.total_ms,
        first_score_ms=message.first_score_ms if message.HasField("first_score_ms") else None,
        batch_fill=message.batch_fill,
    )


def model_of(message: registry_pb2.Model) -> Model:
    calibration = message.calibration
    return Model(
        identity=_identity_of(message.identity),
        description=message.description,
        geometry=_geometry_of(message.geometry),
        intensity=message.intensity,
        expected_orientation=message.expected_orientation,
        distance=message.distance,
        neighbour_count=message.neighbour_count,
        embedding_size=message.embedding_size,
        prototype_count=message.prototype_count,
        calibration=Calibration(
            count=calibration.count,
            min_false_positive_rate=calibration.min_false_positive_rate,
            quantiles=tuple(Quantile(one.probability, one.score) for one in calibration.quantiles),
            strata=calibration.strata,
        ),
        engine=message.engine,
    )
