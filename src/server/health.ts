/**
 * grpc.health.v1 for the whole server (""), for each of its services, for its engines ("salad.engine.onnx"), for its
 * models ("salad.model.phantom", "salad.model.phantom@1"), and for "salad.live".
 */
import type { Server, UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { callerText } from '../errors/index.js';

/** For liveness probes: SERVING while the process answers; a restart would help neither a drain nor a lost engine. */
const LIVE = 'salad.live';
type ServingStatus = 'SERVING' | 'NOT_SERVING';
type ListCallback = (error: null, answer: { readonly statuses: object }) => void;

const MODEL_PREFIX = 'salad.model.';
/** Replaces unknown names that are watched: HealthImplementation keeps every name that was ever watched. */
const UNKNOWN_SERVICE = 'unknown';

/** What a server, or all processes of one together, can do now. */
export interface ServingState {
  readonly isServing: boolean;
  /** Best first. */
  readonly fallbackOrder: readonly string[];
  /** Those of the fallback order that score. */
  readonly engines: readonly string[];
  /** Names of models, and `name@version`. */
  readonly models: readonly string[];
}

export class Health {
  private readonly implementation = new HealthImplementation();
  private readonly statuses = new Map<string, ServingStatus>();

  constructor(private readonly services: readonly string[]) {
    this.set('NOT_SERVING');
    this.setOne(LIVE, 'SERVING');
  }

  addTo(server: Server): void {
    this.implementation.addToServer({
      addService: (service, handlers) => {
        const { check, watch, ...others } = handlers as unknown as Handlers;
        server.addService(service, {
          ...others,
          check: (call: HealthCall, callback: unknown) =>
            check(this.withKnownName(call, callerText), callback),
          watch: (call: HealthCall) => watch(this.withKnownName(call, () => UNKNOWN_SERVICE)),
          list: (_call: unknown, callback: ListCallback) => callback(null, { statuses: this.listed() }),
        } as unknown as UntypedServiceImplementation);
      },
    });
  }

  apply({ isServing, fallbackOrder, engines, models }: ServingState): void {
    this.setEngines(fallbackOrder, engines);
    this.set(isServing ? 'SERVING' : 'NOT_SERVING');
    this.setModels(models);
  }

  set(status: ServingStatus): void {
    for (const service of ['', ...this.services]) this.setOne(service, status);
  }

  /** The server is degraded where the engine that is SERVING is not the first of the fallback order. */
  private setEngines(fallbackOrder: readonly string[], serving: readonly string[]): void {
    for (const engine of fallbackOrder) {
      this.setOne(`salad.engine.${engine}`, serving.includes(engine) ? 'SERVING' : 'NOT_SERVING');
    }
  }

  /** @param serving names of models and `name@version`; those that were serving before and are not listed no longer do */
  setModels(serving: readonly string[]): void {
    const names = new Set(serving.map((model) => `${MODEL_PREFIX}${model}`));
    for (const name of this.statuses.keys()) {
      if (name.startsWith(MODEL_PREFIX) && !names.has(name)) this.setOne(name, 'NOT_SERVING');
    }
    for (const name of names) this.setOne(name, 'SERVING');
  }

  /** Callers need no credentials for health: it does not list models. */
  private listed(): Readonly<Record<string, { readonly status: ServingStatus }>> {
    const listed = [...this.statuses].filter(([name]) => !name.startsWith(MODEL_PREFIX));
    return Object.fromEntries(listed.map(([name, status]) => [name, { status }]));
  }

  private setOne(service: string, status: ServingStatus): void {
    this.statuses.set(service, status);
    this.implementation.setStatus(service, status);
  }

  /** @returns the call; an unknown service name in it is replaced */
  private withKnownName(call: HealthCall, replacementOf: (unknownName: string) => string): HealthCall {
    const { request } = call;
    if (!this.statuses.has(request.service)) request.service = replacementOf(request.service);
    return call;
  }
}

interface HealthCall {
  readonly request: { service: string };
}

interface Handlers {
  check(call: HealthCall, callback: unknown): void;
  watch(call: HealthCall): void;
}
