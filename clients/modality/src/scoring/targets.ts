/** Clients of several servers: where one is unreachable or full, the next one is asked. */
import { SaladClient, SaladClientError, type SaladClientOptions } from '../../../typescript/src/index.js';

export interface Target {
  readonly target: string;
  readonly options: SaladClientOptions;
}

/** Another server may do what this one cannot. */
const ASK_NEXT: ReadonlySet<string> = new Set([
  ...['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED', 'INTERNAL'],
  ...['UNAUTHENTICATED', 'PERMISSION_DENIED', 'NOT_FOUND', 'UNIMPLEMENTED'],
]);

export class Targets {
  private readonly clients: readonly SaladClient[];
  /** The one that worked last. */
  private current = 0;

  constructor(targets: readonly Target[]) {
    this.clients = targets.map(({ target, options }) => new SaladClient(target, options));
  }

  /**
   * Calls one server after the other, beginning with the one that worked last.
   * @param timeoutMs of each of them
   * @throws the error of the last one; at once an error that another server would give as well
   */
  async call<T>(work: (client: SaladClient, timeoutMs: number) => Promise<T>, timeoutMs: number): Promise<T> {
    const first = this.current;
    let failure: unknown;
    for (let count = 0; count < this.clients.length; count++) {
      const index = (first + count) % this.clients.length;
      try {
        const result = await work(this.clients[index]!, timeoutMs);
        this.current = index;
        return result;
      } catch (error) {
        failure = error;
        if (!(error instanceof SaladClientError) || !ASK_NEXT.has(error.status)) throw error;
      }
    }
    throw failure;
  }

  close(): void {
    for (const client of this.clients) client.close();
  }
}
