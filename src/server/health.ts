/** grpc.health.v1 for the whole server (""), for each of its services, for its engines ("salad.engine.onnx"), and "salad.live". */
import type { Server, UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { callerText } from '../errors/index.js';

/** SERVING as long as the process answers: what a liveness probe asks. A restart helps no drain and no lost engine. */
const LIVE = 'salad.live';
/** What a watched name that is not known counts as: HealthImplementation keeps every name that was ever watched. */
const UNKNOWN = 'unknown';

export class Health {
  private readonly implementation = new HealthImplementation();
  private readonly known = new Set<string>();

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
          check: (call: HealthCall, callback: unknown) => check(this.renamed(call, callerText), callback),
          watch: (call: HealthCall) => watch(this.renamed(call, () => UNKNOWN)),
        } as unknown as UntypedServiceImplementation);
      },
    });
  }

  set(status: 'SERVING' | 'NOT_SERVING'): void {
    for (const service of ['', ...this.services]) this.setOne(service, status);
  }

  /** An engine below the first that is SERVING says that the server is degraded. */
  setEngines(engines: readonly string[], serving: string | undefined): void {
    for (const engine of engines) {
      this.setOne(`salad.engine.${engine}`, engine === serving ? 'SERVING' : 'NOT_SERVING');
    }
  }

  private setOne(service: string, status: 'SERVING' | 'NOT_SERVING'): void {
    this.known.add(service);
    this.implementation.setStatus(service, status);
  }

  /** The call, with another name in place of one that is not known. */
  private renamed(call: HealthCall, nameOf: (unknown: string) => string): HealthCall {
    const { request } = call;
    if (!this.known.has(request.service)) request.service = nameOf(request.service);
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
