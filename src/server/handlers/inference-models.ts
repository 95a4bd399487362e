/** inference.GRPCInferenceService: what clients are told of the server and its models. */
import type { handleUnaryCall } from '@grpc/grpc-js';
import { SaladError } from '../../errors/index.js';
import type { GRPCInferenceServiceServer } from '../../gen/inference/grpc_service.js';
import { configOf, EXTENSIONS, metadataOf } from '../../oip/metadata.js';
import type { Statistics } from '../../oip/statistics.js';
import { allViews, findView, type ModelView } from '../../oip/views.js';
import type { Logger } from '../../telemetry/logger.js';
import { packageVersion } from '../../util/package-root.js';
import { toServiceError } from '../../wire/status.js';
import type { AnomalyScoringContext } from './anomaly-scoring.js';

export interface OpenInferenceContext extends AnomalyScoringContext {
  readonly logger: Logger;
}

/** All methods but those that score. */
export function inferenceModelHandlers(
  { registry, calls, config }: Pick<OpenInferenceContext, 'registry' | 'calls' | 'config'>,
  statistics: Statistics,
) {
  const isReady = () => registry.pool.isServing && !calls.drainSignal.aborted;
  const unary =
    <Request, Response>(answer: (request: Request) => Response): handleUnaryCall<Request, Response> =>
    (call, callback) => {
      try {
        callback(null, answer(call.request));
      } catch (error) {
        callback(toServiceError(error, config.retryDelayMs));
      }
    };
  const version = packageVersion();
  return {
    serverLive: unary(() => ({ live: true })),
    serverReady: unary(() => ({ ready: isReady() })),
    modelReady: unary(({ name, version: wanted }) => ({ ready: isReady() && exists(name, wanted) })),
    serverMetadata: unary(() => ({ name: 'salad-serve', version, extensions: [...EXTENSIONS] })),
    modelMetadata: unary(({ name, version: wanted }) =>
      metadataOf(findView(registry, name, wanted), registry),
    ),
    modelConfig: unary(({ name, version: wanted }) => configOf(findView(registry, name, wanted))),
    modelStatistics: unary(({ name, version: wanted }) => ({
      modelStats: statisticsOf(name, wanted).map((view) => statistics.message(view)),
    })),
    repositoryIndex: unary(({ ready }) => ({
      models: ready && !isReady() ? [] : allViews(registry).map(indexEntry),
    })),
    repositoryModelLoad: unary(refuseChange),
    repositoryModelUnload: unary(refuseChange),
  } satisfies Partial<GRPCInferenceServiceServer>;

  function exists(name: string, wanted: string): boolean {
    try {
      return findView(registry, name, wanted) !== undefined;
    } catch {
      return false;
    }
  }

  function statisticsOf(name: string, wanted: string): readonly ModelView[] {
    if (name === '') return allViews(registry);
    const found = findView(registry, name, wanted);
    return wanted !== '' ? [found] : allViews(registry).filter((view) => view.name === name);
  }

  function indexEntry({ name, model }: ModelView) {
    const ready = isReady();
    return {
      ...{ name, version: String(model.version), state: ready ? 'READY' : 'UNAVAILABLE' },
      reason: ready ? '' : 'the server is draining, or has no engine',
    };
  }
}

function refuseChange(): never {
  const why = 'models are read at the start of the server: they cannot be loaded or unloaded while it runs';
  throw new SaladError('UNIMPLEMENTED', why);
}
