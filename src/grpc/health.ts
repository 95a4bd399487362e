/** grpc.health.v1 for the whole server ("") and for each of its services. */
import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

export class Health {
  private readonly implementation = new HealthImplementation();

  constructor(private readonly services: readonly string[]) {
    this.set('NOT_SERVING');
  }

  addTo(server: Server): void {
    this.implementation.addToServer(server);
  }

  set(status: 'SERVING' | 'NOT_SERVING'): void {
    for (const service of ['', ...this.services]) this.implementation.setStatus(service, status);
  }
}
