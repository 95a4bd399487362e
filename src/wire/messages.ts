/** Converts events of an acquisition to messages of the wire. */
import type { AcquisitionEvent, AcquisitionRequest, Aggregate, ServedModel } from '../acquisition/index.js';
import type { StreamAcquisitionResponse } from '../gen/salad/v1/anomaly_scoring.js';
import {
  type AcquisitionAggregate,
  type AnomalyMap,
  AnomalyMapFormat,
  Decision,
  type DicomInstance,
  type Geometry,
  type ModelIdentity,
  WarningKind,
} from '../gen/salad/v1/types.js';

const DECISIONS = {
  normal: Decision.DECISION_NORMAL,
  anomalous: Decision.DECISION_ANOMALOUS,
  indeterminate: Decision.DECISION_INDETERMINATE,
} as const;

const WARNINGS = {
  autoWindow: WarningKind.WARNING_KIND_AUTO_WINDOW,
  partial: WarningKind.WARNING_KIND_PARTIAL,
  tilesFailed: WarningKind.WARNING_KIND_TILES_FAILED,
  engineFailover: WarningKind.WARNING_KIND_ENGINE_FAILOVER,
  nothingScored: WarningKind.WARNING_KIND_NOTHING_SCORED,
  inverted: WarningKind.WARNING_KIND_INVERTED,
  implausible: WarningKind.WARNING_KIND_IMPLAUSIBLE,
  alignmentBound: WarningKind.WARNING_KIND_ALIGNMENT_BOUND,
} as const;

export function identityOf(model: ServedModel): ModelIdentity {
  return { name: model.name, version: model.version, bundleSha256: model.sha256 };
}

export function wireGeometry(model: ServedModel): Geometry {
  const { geometry } = model;
  return {
    workingRows: geometry.workingSize,
    workingColumns: geometry.workingSize,
    coreSize: geometry.coreSize,
    coreColumns: geometry.coreColumns,
    haloSize: geometry.haloSize,
    tileRows: geometry.tileRows,
    tileColumns: geometry.tileColumns,
    patchRows: geometry.patchGrid,
    patchColumns: geometry.patchGrid,
    patchStride: geometry.patchStride,
    patchSize: geometry.patchSize,
    patchOffset: geometry.patchOffset,
  };
}

export function answerOf(
  event: AcquisitionEvent,
  model: ServedModel,
  request: AcquisitionRequest,
  instance?: DicomInstance,
): StreamAcquisitionResponse {
  switch (event.kind) {
    case 'accepted':
      return {
        payload: {
          $case: 'accepted',
          value: {
            acquisitionId: request.acquisitionId,
            model: identityOf(model),
            engine: event.engine,
            geometry: wireGeometry(model),
            scoresBeforeLastPixel: event.scoresBeforeLastPixel,
            placement: event.placement,
            workingToSource: event.workingToSource,
          },
        },
      };
    case 'patches':
      return {
        payload: {
          $case: 'patchScores',
          value: { patches: event.patches, workingToSource: event.workingToSource },
        },
      };
    case 'aggregate':
      return {
        payload: { $case: 'aggregate', value: wireAggregate(event.aggregate, model, request, instance) },
      };
  }
}

function wireAggregate(
  aggregate: Aggregate,
  model: ServedModel,
  request: AcquisitionRequest,
  instance: DicomInstance | undefined,
): AcquisitionAggregate {
  return {
    acquisitionId: request.acquisitionId,
    imageScore: aggregate.imageScore,
    pValue: aggregate.pValue,
    decision: DECISIONS[aggregate.decision],
    threshold: aggregate.threshold,
    maxFalsePositiveRate: aggregate.maxFalsePositiveRate,
    coverage: { ...aggregate.coverage, missingTiles: [...aggregate.coverage.missingTiles] },
    topPatches: [...aggregate.topPatches],
    anomalyMap: wireMap(aggregate.anomalyMap),
    model: identityOf(model),
    engines: [...aggregate.engines],
    timings: aggregate.timings,
    search: aggregate.search,
    precisions: [...aggregate.precisions],
    dicomInstance: instance,
    warnings: aggregate.warnings.map(({ kind, message }) => ({ kind: WARNINGS[kind], message })),
  };
}

function wireMap(map: Aggregate['anomalyMap']): AnomalyMap | undefined {
  if (map === undefined) return undefined;
  const format =
    map.format === 'float32'
      ? AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32
      : AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY;
  return { ...map, format, scale: [...map.scale] };
}
