/** salad.v1.ModelRegistry: the loaded models, and how a client must prepare pixels for them. */
import type { handleUnaryCall } from '@grpc/grpc-js';
import type { ServedModel } from '../../acquisition/index.js';
import type {
  Calibration,
  Model,
  ModelRegistryGetRequest,
  ModelRegistryGetResponse,
  ModelRegistryListRequest,
  ModelRegistryListResponse,
  ModelRegistryServer,
} from '../../gen/salad/v1/model_registry.js';
import type { ModelRegistry } from '../../registry/model-registry.js';
import { minFalsePositiveRate, quantileOfSorted } from '../../scoring/calibration.js';
import { checkModelName } from '../../wire/header.js';
import { identityOf, wireGeometry } from '../../wire/messages.js';
import { toServiceError } from '../../wire/status.js';

const QUANTILE_PROBABILITIES = [0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1];

export function modelRegistryHandlers(registry: ModelRegistry, retryDelayMs: number): ModelRegistryServer {
  const list: handleUnaryCall<ModelRegistryListRequest, ModelRegistryListResponse> = (_call, callback) => {
    callback(null, { models: registry.list().map(modelMessage) });
  };
  const get: handleUnaryCall<ModelRegistryGetRequest, ModelRegistryGetResponse> = (call, callback) => {
    try {
      const { model } = call.request;
      checkModelName(model?.name ?? '', 'model.name');
      callback(null, { model: modelMessage(registry.find(model?.name ?? '', model?.version)) });
    } catch (error) {
      callback(toServiceError(error, retryDelayMs));
    }
  };
  return { list, get };
}

function modelMessage(model: ServedModel): Model {
  const { manifest } = model;
  return {
    identity: identityOf(model),
    description: manifest.description,
    geometry: wireGeometry(model),
    intensity: manifest.input.intensity.kind,
    expectedOrientation: manifest.input.orientation,
    distance: manifest.scoring.distance,
    neighbourCount: manifest.scoring.neighbourCount,
    embeddingSize: manifest.bank.dimension,
    prototypeCount: manifest.bank.rows,
    calibration: calibrationMessage(model),
    engine: model.engine,
  };
}

function calibrationMessage({ manifest: { calibration } }: ServedModel): Calibration {
  return {
    count: calibration.imageScores.length,
    minFalsePositiveRate: minFalsePositiveRate(calibration),
    quantiles: QUANTILE_PROBABILITIES.map((probability) => ({
      probability,
      score: quantileOfSorted(calibration.imageScores, probability),
    })),
    strata: calibration.strata?.length ?? 0,
  };
}
