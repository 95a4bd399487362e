/** Whether the gateway takes instances now. */
import { SaladError } from '../../../../src/errors/index.js';

export type Phase = 'starting' | 'running' | 'stopping';

export class Readiness {
  private phase: Phase = 'starting';
  private check: () => Promise<void> = () => Promise.resolve();

  /** @param check whether an instance would be refused now: rejects then */
  running(check: () => Promise<void>): void {
    this.check = check;
    this.phase = 'running';
  }

  stopping(): void {
    this.phase = 'stopping';
  }

  /** Why it takes no instances, in words for the operator; undefined where it takes them. Never rejects. */
  async reasonAgainst(): Promise<string | undefined> {
    if (this.phase !== 'running') return `the gateway is ${this.phase}`;
    try {
      await this.check();
      return undefined;
    } catch (error) {
      return SaladError.from(error).message;
    }
  }
}
