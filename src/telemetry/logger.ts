import { destination, type Logger, pino } from 'pino';
import type { ServeConfig } from '../config/schema.js';

export type { Logger };

/** JSON lines on stderr: stdout belongs to the verb's result. */
export function createLogger(config: Pick<ServeConfig, 'logLevel'>): Logger {
  return pino({ name: 'salad-serve', level: config.logLevel }, destination({ fd: 2, sync: false }));
}

/** For embedders and tests that want no log. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
