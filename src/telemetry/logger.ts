/** The log: JSON lines on stderr with bounded length. */
import { destination, type Logger, type LoggerOptions, pino, stdSerializers } from 'pino';
import type { TelemetryConfig } from '../config/sections/telemetry.js';
import { boundedMessage } from '../errors/index.js';

export type { Logger };

/** Longest stack trace in bytes; it contains the error message. */
const STACK_BYTES_MAX = 4096;

/** Bounds every text in a log line, because messages and errors can contain text of a caller. */
export const logBounds: LoggerOptions = {
  serializers: {
    err: (error: Error) => {
      const { stack, ...fields } = stdSerializers.err(error);
      const flatFields = Object.fromEntries(
        Object.entries(fields).filter(([, value]) => typeof value !== 'object'),
      );
      return { ...withBoundedTexts(flatFields), stack: boundedMessage(stack, STACK_BYTES_MAX) };
    },
  },
  formatters: { log: withBoundedTexts },
  hooks: {
    logMethod(args, method) {
      method.apply(this, args.map(bounded) as typeof args);
    },
  },
};

function withBoundedTexts(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, bounded(value)]));
}

function bounded(value: unknown): unknown {
  return typeof value === 'string' ? boundedMessage(value) : value;
}

/** Logs to stderr, because stdout is for the result of a command. */
export function createLogger(config: Pick<TelemetryConfig, 'logLevel'>): Logger {
  return pino(
    { ...logBounds, name: 'salad-serve', level: config.logLevel },
    destination({ fd: 2, sync: false }),
  );
}

/** A logger without output, for programs that embed the server, and for tests. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
