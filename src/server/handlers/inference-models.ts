/** inference.GRPCInferenceService: state and metadata of the server and its models, and calls that change them. */
import { callerText, SaladError } from '../../errors/index.js';
import type {
  GRPCInferenceServiceServer,
  RepositoryModelLoadRequest,
  RepositoryModelUnloadRequest,
} from '../../gen/inference/grpc_service.js';
import { configOf, EXTENSIONS, metadataOf } from '../../oip/metadata.js';
import type { Statistics } from '../../oip/statistics.js';
import { allViews, findView, isOtherView, type ModelView } from '../../oip/views.js';
import type { ModelChanges } from '../../registry/model-changes.js';
import type { ModelRegistry } from '../../registry/model-registry.js';
import type { Logger } from '../../telemetry/logger.js';
import { packageVersion } from '../../util/package-root.js';
import { checkModelName } from '../../wire/header.js';
import type { AnomalyScoringContext } from './anomaly-scoring.js';
import { unaryHandler } from './unary.js';

export interface OpenInferenceContext extends AnomalyScoringContext {
  readonly logger: Logger;
  readonly changes: ModelChanges;
}

/** All methods but those that score. */
export function inferenceModelHandlers(
  {
    registry,
    changes,
    calls,
    config,
  }: Pick<OpenInferenceContext, 'registry' | 'changes' | 'calls' | 'config'>,
  statistics: Statistics,
) {
  const isReady = () => registry.pool.isServing && !calls.drainSignal.aborted;
  const unary = <Request, Response>(answer: (request: Request) => Response | Promise<Response>) =>
    unaryHandler(answer, config.retryDelayMs);
  const version = packageVersion();
  return {
    serverLive: unary(() => ({ live: true })),
    serverReady: unary(() => ({ ready: isReady() })),
    modelReady: unary(({ name, version: requested }) => ({
      ready: isReady() && exists(registry, name, requested),
    })),
    serverMetadata: unary(() => ({ name: 'salad-serve', version, extensions: [...EXTENSIONS] })),
    modelMetadata: unary(({ name, version: requested }) =>
      metadataOf(findView(registry, name, requested), registry),
    ),
    modelConfig: unary(({ name, version: requested }) => configOf(findView(registry, name, requested))),
    modelStatistics: unary(({ name, version: requested }) => ({
      modelStats: requestedViews(registry, name, requested).map((view) => statistics.message(view)),
    })),
    repositoryIndex: unary(({ ready: readyOnly }) => {
      const ready = isReady();
      if (readyOnly && !ready) return { models: [] };
      const served = allViews(registry).map((view) => indexEntry(view, ready));
      return { models: readyOnly ? served : [...served, ...otherVersions(registry)] };
    }),
    repositoryModelLoad: unary(async (request: RepositoryModelLoadRequest) => {
      await changes.load(nameToChange(request, []));
      return {};
    }),
    repositoryModelUnload: unary(async (request: RepositoryModelUnloadRequest) => {
      await changes.unload(nameToChange(request, ['unload_dependents']));
      return {};
    }),
  } satisfies Partial<GRPCInferenceServiceServer>;
}

function exists(registry: ModelRegistry, name: string, requested: string): boolean {
  try {
    return findView(registry, name, requested) !== undefined;
  } catch {
    return false;
  }
}

function requestedViews(registry: ModelRegistry, name: string, requested: string): readonly ModelView[] {
  if (name === '') return allViews(registry);
  const found = findView(registry, name, requested);
  return requested !== '' ? [found] : allViews(registry).filter((view) => view.name === name);
}

/** Versions that cannot be called: as Triton, with a state and a reason. */
function otherVersions(registry: ModelRegistry) {
  return registry
    .versions()
    .filter(({ state }) => state !== 'serving')
    .map(({ name, version, state, reason }) => ({
      name,
      version: String(version),
      state: state === 'refused' ? 'UNAVAILABLE' : state.toUpperCase(),
      reason,
    }));
}

function indexEntry({ name, model }: ModelView, isReady: boolean) {
  return {
    ...{ name, version: String(model.version), state: isReady ? 'READY' : 'UNAVAILABLE' },
    reason: isReady ? '' : 'the server is draining, or has no engine',
  };
}

type ChangeRequest = Pick<RepositoryModelLoadRequest, 'repositoryName' | 'modelName' | 'parameters'>;

/**
 * The name of the bundle to load or to unload.
 * @param accepted parameters without a meaning here, which Triton's client sends
 * @throws SaladError MODEL_NOT_FOUND, PARAMETER_INVALID
 */
function nameToChange(
  { repositoryName, modelName, parameters }: ChangeRequest,
  accepted: readonly string[],
): string {
  if (repositoryName !== '') {
    const why = 'must be empty: the models folders of the server are the only repository';
    throw SaladError.field('PARAMETER_INVALID', 'repository_name', why);
  }
  const unknown = Object.keys(parameters).find((key) => !accepted.includes(key));
  if (unknown !== undefined) {
    const why = 'is not supported: a bundle has its own configuration and files';
    throw SaladError.field('PARAMETER_INVALID', `parameters.${callerText(unknown)}`, why);
  }
  if (isOtherView(modelName)) {
    const why = `'${callerText(modelName)}' comes and goes with the model whose name has no suffix`;
    throw SaladError.field('MODEL_NOT_FOUND', 'model_name', why);
  }
  checkModelName(modelName, 'model_name');
  return modelName;
}
