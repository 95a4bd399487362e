/** What a server needs where it is one of several processes behind one port. */
import type { Socket } from 'node:net';
import type { ModelChanges } from '../registry/model-changes.js';
import type { ModelRegistry } from '../registry/model-registry.js';
import type { ServingState } from './health.js';

export interface ServerGroup {
  /** Takes accepted connections of the port, from which nothing was read. */
  onConnection(take: (socket: Socket) => void): void;
  /** Says what this process can do now. */
  report(state: ServingState): void;
  /** Called with what all processes together can do. */
  onState(apply: (ofAll: ServingState) => void): void;
  /** Changes the models of every process. */
  changesOf(registry: ModelRegistry): ModelChanges;
  /** Says that the calls of this process have ended, and waits until those of all processes have. */
  callsEnded(): Promise<void>;
}
