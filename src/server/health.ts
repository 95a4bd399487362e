/** grpc.health.v1 for the whole server (""), for each of its services, for its engines ("salad.engine.onnx"), and "salad.live". */
import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

/** SERVING as long as the process answers: what a liveness probe asks. A restart helps no drain and no lost engine. */
const LIVE = 'salad.live';

export class Health {
  private readonly implementation = new HealthImplementation();

  constructor(private readonly services: readonly string[]) {
    this.set('NOT_SERVING');
    this.implementation.setStatus(LIVE, 'SERVING');
  }

  addTo(server: Server): void {
    this.implementation.addToServer(server);
  }

  set(status: 'SERVING' | 'NOT_SERVING'): void {
    for (const service of ['', ...this.services]) this.implementation.setStatus(service, status);
  }

  /** An engine below the first that is SERVING says that the server is degraded. */
  setEngines(engines: readonly string[], serving: string | undefined): void {
    for (const engine of engines) {
      this.implementation.setStatus(`salad.engine.${engine}`, engine === serving ? 'SERVING' : 'NOT_SERVING');
    }
  }
}
