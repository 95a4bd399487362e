/** The side of a server process: what it shares with the others goes through the process that started it. */
import { Socket } from 'node:net';
import { SaladError } from '../../errors/index.js';
import type { ModelChanges } from '../../registry/model-changes.js';
import type { ModelRegistry } from '../../registry/model-registry.js';
import type { CollectedMetrics } from '../../telemetry/merged-metrics.js';
import type { ServerGroup } from '../group.js';
import type { ServingState } from '../health.js';
import { Channel, type Endpoint } from './channel.js';
import type { ChangedModels, FromProcess, ModelChange, ProcessRequest, ToProcess } from './messages.js';

export interface WorkerGroupOptions {
  readonly endpoint: Endpoint;
  readonly collectMetrics: () => Promise<CollectedMetrics>;
  /** Called with every message that is not for the server itself. */
  readonly onMessage: (message: ToProcess) => void;
}

export class WorkerGroup implements ServerGroup {
  private readonly channel: Channel<ToProcess, ProcessRequest>;
  private take: ((socket: Socket) => void) | undefined;
  private apply: ((ofAll: ServingState) => void) | undefined;
  private registry: ModelRegistry | undefined;
  private close = () => {};
  private readonly closed = new Promise<void>((resolve) => {
    this.close = resolve;
  });

  constructor(private readonly options: WorkerGroupOptions) {
    const { endpoint } = options;
    this.channel = new Channel<ToProcess, ProcessRequest>(endpoint, {
      onMessage: (message, handle) => this.receive(message, handle),
      onRequest: (request) => this.carryOut(request),
    });
    // Without the first process there is nothing to wait for.
    (endpoint as NodeJS.Process).on('disconnect', () => this.close());
  }

  send(message: FromProcess): void {
    this.channel.send(message);
  }

  onConnection(take: (socket: Socket) => void): void {
    this.take = take;
  }

  report(state: ServingState): void {
    this.send({ type: 'state', state });
  }

  onState(apply: (ofAll: ServingState) => void): void {
    this.apply = apply;
  }

  changesOf(registry: ModelRegistry): ModelChanges {
    this.registry = registry;
    const change = (body: ModelChange) => this.channel.request<ChangedModels>(body);
    return {
      load: async (name, version) => {
        const { versions } = await change({ do: 'load', name, version });
        return registry.find(name, versions[0]?.version);
      },
      unload: async (name, version) => {
        // Before: a version that is unloading is not found.
        const models = registry.list().filter((model) => model.name === name);
        const { versions } = await change({ do: 'unload', name, version });
        return models.filter((model) => versions.some((each) => each.version === model.version));
      },
    };
  }

  callsEnded(): Promise<void> {
    this.send({ type: 'callsEnded' });
    return this.closed;
  }

  private receive(message: ToProcess, handle: unknown): void {
    if (message.type === 'connection') this.accept(message.id, handle);
    else if (message.type === 'state') this.apply?.(message.ofAll);
    else if (message.type === 'close') this.close();
    else this.options.onMessage(message);
  }

  private accept(id: number, socket: unknown): void {
    // Before the first byte is read: until then another process can take the connection.
    this.send({ type: 'taken', id });
    // A connection that its client has closed on the way comes without a socket.
    if (!(socket instanceof Socket)) {
      this.send({ type: 'closed' });
      return;
    }
    socket.once('close', () => this.send({ type: 'closed' }));
    if (this.take === undefined) socket.destroy();
    else this.take(socket);
  }

  private carryOut(request: ProcessRequest): Promise<unknown> | unknown {
    if (request.do === 'metrics') return this.options.collectMetrics();
    if (this.registry === undefined) throw new SaladError('DRAINING', 'the process has not started yet');
    return changeModels(this.registry, request);
  }
}

async function changeModels(
  registry: ModelRegistry,
  { do: action, name, version }: ModelChange,
): Promise<ChangedModels> {
  if (action === 'unload') {
    const versions = registry.unload(name, version).map((model) => ({ name, version: model.version }));
    return { versions, servedBefore: true };
  }
  const before = new Set(registry.list().map(({ key }) => key));
  const model = await registry.load(name, version);
  return { versions: [{ name, version: model.version }], servedBefore: before.has(model.key) };
}
