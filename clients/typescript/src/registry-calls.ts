/** The calls of salad.v1.ModelRegistry. */
import type { Metadata, ServiceError } from '@grpc/grpc-js';
import {
  type Model,
  type ModelRegistryClient,
  type ModelRegistryGetResponse,
  type ModelRegistryListResponse,
  type ModelRegistryLoadResponse,
  type ModelRegistryUnloadResponse,
  type ModelRegistryWatchResponse,
  ModelVersionState,
  type ModelVersionStatus,
} from '../../../src/gen/salad/v1/model_registry.js';
import { type CallOptions, cancelOnAbort, clientError, deadlineOf } from './call-options.js';
import { SaladClientError } from './errors.js';

/** A version of a model on a server. */
export interface ModelVersion {
  readonly name: string;
  readonly version: number;
  /** SHA-256 of the bundle's manifest; empty while it has not been read. */
  readonly bundleSha256: string;
  /** `unloading`: only acquisitions that have begun use it. `unknown`: of a newer server. */
  readonly state: 'loading' | 'serving' | 'unloading' | 'refused' | 'unknown';
  /** Acquisitions without a version get this one. */
  readonly isDefault: boolean;
  /** Acquisitions that used it when the server answered. */
  readonly acquisitions: number;
  /** Why it was refused, or what else is wrong with it; human-readable. */
  readonly reason: string;
}

type Callback<Response> = (error: ServiceError | null, response: Response) => void;
type Deadline = ReturnType<typeof deadlineOf>;

const STATES: Readonly<Partial<Record<ModelVersionState, ModelVersion['state']>>> = {
  [ModelVersionState.MODEL_VERSION_STATE_LOADING]: 'loading',
  [ModelVersionState.MODEL_VERSION_STATE_SERVING]: 'serving',
  [ModelVersionState.MODEL_VERSION_STATE_UNLOADING]: 'unloading',
  [ModelVersionState.MODEL_VERSION_STATE_REFUSED]: 'refused',
};

/** See the methods of SaladClient. */
export class RegistryCalls {
  readonly #client: ModelRegistryClient;
  readonly #metadata: () => Metadata;

  constructor(client: ModelRegistryClient, metadata: () => Metadata) {
    this.#client = client;
    this.#metadata = metadata;
  }

  async list(options: CallOptions): Promise<readonly Model[]> {
    return (await this.#listed(options)).models;
  }

  async versions(options: CallOptions): Promise<readonly ModelVersion[]> {
    return (await this.#listed(options)).versions.map(versionOf);
  }

  async get(name: string, version: number | undefined, options: CallOptions): Promise<Model> {
    const request = { model: { name, version } };
    const { model } = await this.#unary<ModelRegistryGetResponse>(options, (metadata, deadline, callback) =>
      this.#client.get(request, metadata, deadline, callback),
    );
    return present(model);
  }

  async load(name: string, version: number | undefined, options: CallOptions): Promise<Model> {
    const request = { model: { name, version } };
    const { model } = await this.#unary<ModelRegistryLoadResponse>(options, (metadata, deadline, callback) =>
      this.#client.load(request, metadata, deadline, callback),
    );
    return present(model);
  }

  async unload(name: string, version: number | undefined, options: CallOptions): Promise<readonly string[]> {
    const request = { model: { name, version } };
    const { models } = await this.#unary<ModelRegistryUnloadResponse>(
      options,
      (metadata, deadline, callback) => this.#client.unload(request, metadata, deadline, callback),
    );
    return models.map((model) => `${model.name}@${model.version}`);
  }

  async *watch(options: CallOptions): AsyncGenerator<readonly ModelVersion[], void, undefined> {
    const call = this.#client.watch({}, this.#metadata(), deadlineOf(options));
    const removeListener = cancelOnAbort(call, options.signal);
    try {
      for await (const { versions } of call as AsyncIterable<ModelRegistryWatchResponse>) {
        yield versions.map(versionOf);
      }
    } catch (error) {
      throw clientError(error);
    } finally {
      removeListener();
      call.cancel();
    }
  }

  #listed(options: CallOptions): Promise<ModelRegistryListResponse> {
    return this.#unary(options, (metadata, deadline, callback) =>
      this.#client.list({}, metadata, deadline, callback),
    );
  }

  #unary<Response>(
    options: CallOptions,
    start: (metadata: Metadata, deadline: Deadline, callback: Callback<Response>) => { cancel(): void },
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const call = start(this.#metadata(), deadlineOf(options), (error, response) => {
        removeListener();
        if (error) reject(new SaladClientError(error));
        else resolve(response);
      });
      const removeListener = cancelOnAbort(call, options.signal);
    });
  }
}

function present(model: Model | undefined): Model {
  if (model !== undefined) return model;
  throw SaladClientError.local('INTERNAL', 'the server answered without a model');
}

function versionOf({ identity, state, isDefault, acquisitions, reason }: ModelVersionStatus): ModelVersion {
  return {
    name: identity?.name ?? '',
    version: identity?.version ?? 0,
    bundleSha256: identity?.bundleSha256 ?? '',
    state: STATES[state] ?? 'unknown',
    isDefault,
    acquisitions,
    reason,
  };
}
