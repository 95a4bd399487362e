import { EventEmitter, once } from 'node:events';
import { pino } from 'pino';
import type { Logger } from '../../../src/telemetry/logger.js';

export interface LogLine {
  readonly level: number;
  readonly msg: string;
}

/** A logger at level trace whose lines a test can wait for. */
export class CapturedLog {
  readonly lines: LogLine[] = [];
  readonly logger: Logger;
  private readonly events = new EventEmitter();

  constructor() {
    const write = (text: string) => {
      this.lines.push(JSON.parse(text) as LogLine);
      this.events.emit('line');
    };
    this.logger = pino({ level: 'trace' }, { write });
  }

  /** Resolves with the first line whose message matches; a line that was logged before counts, too. */
  async line(message: RegExp): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find(({ msg }) => message.test(msg));
      if (found !== undefined) return found;
      await once(this.events, 'line');
    }
  }
}
