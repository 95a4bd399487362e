/** salad.v1.ModelRegistry: the loaded models, how a client must prepare pixels for them, and calls that change them. */
import type { handleServerStreamingCall } from '@grpc/grpc-js';
import type { ServedModel } from '../../acquisition/index.js';
import {
  type Calibration,
  type Model,
  type ModelRegistryGetRequest,
  type ModelRegistryGetResponse,
  type ModelRegistryListRequest,
  type ModelRegistryListResponse,
  type ModelRegistryLoadRequest,
  type ModelRegistryLoadResponse,
  type ModelRegistryServer,
  type ModelRegistryUnloadRequest,
  type ModelRegistryUnloadResponse,
  type ModelRegistryWatchRequest,
  type ModelRegistryWatchResponse,
  ModelVersionState,
  type ModelVersionStatus,
} from '../../gen/salad/v1/model_registry.js';
import type { ModelChanges } from '../../registry/model-changes.js';
import type { ModelRegistry, ModelVersion, VersionState } from '../../registry/model-registry.js';
import { minFalsePositiveRate, quantileOfSorted } from '../../scoring/calibration.js';
import { checkModelName } from '../../wire/header.js';
import { identityOf, wireGeometry } from '../../wire/messages.js';
import { unaryHandler } from './unary.js';

const QUANTILE_PROBABILITIES = [0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1];

const WIRE_STATES: Readonly<Record<VersionState, ModelVersionState>> = {
  loading: ModelVersionState.MODEL_VERSION_STATE_LOADING,
  serving: ModelVersionState.MODEL_VERSION_STATE_SERVING,
  unloading: ModelVersionState.MODEL_VERSION_STATE_UNLOADING,
  refused: ModelVersionState.MODEL_VERSION_STATE_REFUSED,
};

export function modelRegistryHandlers(
  registry: ModelRegistry,
  changes: ModelChanges,
  retryDelayMs: number,
): ModelRegistryServer {
  const unary = <Request, Response>(answer: (request: Request) => Response | Promise<Response>) =>
    unaryHandler(answer, retryDelayMs);
  const list = unary<ModelRegistryListRequest, ModelRegistryListResponse>(() => ({
    models: registry.list().map(modelMessage),
    versions: registry.versions().map(statusMessage),
  }));
  const get = unary<ModelRegistryGetRequest, ModelRegistryGetResponse>(({ model }) => {
    const { name = '', version } = model ?? {};
    checkModelName(name, 'model.name');
    return { model: modelMessage(registry.find(name, version)) };
  });
  const load = unary<ModelRegistryLoadRequest, ModelRegistryLoadResponse>(async ({ model }) => {
    const { name = '', version } = model ?? {};
    checkModelName(name, 'model.name');
    return { model: modelMessage(await changes.load(name, version)) };
  });
  const unload = unary<ModelRegistryUnloadRequest, ModelRegistryUnloadResponse>(async ({ model }) => {
    const { name = '', version } = model ?? {};
    checkModelName(name, 'model.name');
    return { models: (await changes.unload(name, version)).map(identityOf) };
  });
  const watch: handleServerStreamingCall<ModelRegistryWatchRequest, ModelRegistryWatchResponse> = (call) => {
    writeLatest(
      () => call.write({ versions: registry.versions().map(statusMessage) }),
      (drained) => call.once('drain', drained),
      // grpc-js emits this at the end of every call, however it ended.
      (changed) => call.once('cancelled', registry.onChange(changed)),
    );
  };
  return { list, get, load, unload, watch };
}

/**
 * Writes a state at once and after every change. Changes while a slow client reads are written as one.
 * @param write returns false where the client has to read before more is written
 */
function writeLatest(
  write: () => boolean,
  onDrain: (drained: () => void) => void,
  onChange: (changed: () => void) => void,
): void {
  let isReading = false;
  let hasChanged = false;
  const writeNow = () => {
    hasChanged = false;
    isReading = !write();
    if (isReading) {
      onDrain(() => {
        isReading = false;
        if (hasChanged) writeNow();
      });
    }
  };
  writeNow();
  onChange(() => {
    hasChanged = true;
    if (!isReading) writeNow();
  });
}

function statusMessage(version: ModelVersion): ModelVersionStatus {
  return {
    identity: identityOf(version),
    state: WIRE_STATES[version.state],
    isDefault: version.isDefault,
    acquisitions: version.acquisitions,
    reason: version.reason,
  };
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
