/** salad.v1.ModelRegistry from the client's side. */
import { credentials, type ServiceError } from '@grpc/grpc-js';
import {
  ModelRegistryClient,
  type ModelRegistryListResponse,
  type ModelRegistryLoadResponse,
  type ModelRegistryUnloadResponse,
  type ModelRegistryWatchResponse,
  ModelVersionState,
} from '../../../src/gen/salad/v1/model_registry.js';

type Callback<Response> = (error: ServiceError | null, response: Response) => void;

function answer<Response>(call: (callback: Callback<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error ? reject(error) : resolve(response)));
  });
}

/** `name@version state`, with `*` for a default and the reason, if there is one. */
function lines({ versions }: Pick<ModelRegistryWatchResponse, 'versions'>): string[] {
  return versions.map(({ identity, state, isDefault, reason }) => {
    const name = ModelVersionState[state].replace('MODEL_VERSION_STATE_', '').toLowerCase();
    const suffix = reason === '' ? '' : `: ${reason}`;
    return `${identity?.name}@${identity?.version} ${name}${isDefault ? '*' : ''}${suffix}`;
  });
}

export function registryClient(address: string) {
  const client = new ModelRegistryClient(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const model = (name: string, version?: number) => ({ model: { name, version } });
  const list = () => answer<ModelRegistryListResponse>((callback) => client.list({}, callback));
  return {
    load: (name: string, version?: number) =>
      answer<ModelRegistryLoadResponse>((callback) => client.load(model(name, version), callback)),
    unload: (name: string, version?: number) =>
      answer<ModelRegistryUnloadResponse>((callback) => client.unload(model(name, version), callback)),
    list,
    states: async () => lines(await list()),
    /** Every state that the server tells, until `cancel`; an error that ends the call. */
    watch() {
      const states: string[][] = [];
      const call = client.watch({});
      const ended = new Promise<ServiceError>((resolve) => call.on('error', resolve));
      call.on('data', (response: ModelRegistryWatchResponse) => states.push(lines(response)));
      return { states, ended, cancel: () => call.cancel() };
    },
    close: () => client.close(),
  };
}
