import { destination, type Logger, type LoggerOptions, pino, stdSerializers } from 'pino';
import type { ServeConfig } from '../config/schema.js';
import { boundedMessage } from '../errors/index.js';

export type { Logger };

/** Bytes of a stack trace, which has the message in it. */
const STACK_MAX = 4096;

/** Whatever a caller's text gets into, a line of the log stays short. */
export const logBounds: LoggerOptions = {
  serializers: {
    err: (error: Error) => {
      const { stack, ...fields } = stdSerializers.err(error);
      const flat = Object.fromEntries(
        Object.entries(fields).filter(([, value]) => typeof value !== 'object'),
      );
      return { ...withBoundedTexts(flat), stack: boundedMessage(stack, STACK_MAX) };
    },
  },
  formatters: { log: withBoundedTexts },
  hooks: {
    logMethod(args, method) {
      const bounded = args.map((arg: unknown) => (typeof arg === 'string' ? boundedMessage(arg) : arg));
      method.apply(this, bounded as typeof args);
    },
  },
};

function withBoundedTexts(fields: object): Record<string, unknown> {
  const bounded = (value: unknown) => (typeof value === 'string' ? boundedMessage(value) : value);
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, bounded(value)]));
}

/** JSON lines on stderr: stdout belongs to the verb's result. */
export function createLogger(config: Pick<ServeConfig, 'logLevel'>): Logger {
  return pino(
    { ...logBounds, name: 'salad-serve', level: config.logLevel },
    destination({ fd: 2, sync: false }),
  );
}

/** For embedders and tests that want no log. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
