/** What Node and libraries print as text becomes lines of the log. */
import { setLogger } from '@grpc/grpc-js';
import type { Logger } from '../telemetry/logger.js';

/**
 * Warnings of Node, messages of grpc-js, and errors that nobody caught, which end the process with exit code 1 as they
 * do without this.
 */
export function logForeign(logger: Logger): void {
  const library = logger.child({ library: 'grpc-js' });
  const text = (parts: unknown[]) => parts.map(String).join(' ');
  setLogger({
    error: (...parts: unknown[]) => library.warn(text(parts)),
    info: (...parts: unknown[]) => library.info(text(parts)),
    debug: (...parts: unknown[]) => library.debug(text(parts)),
  });
  process.removeAllListeners('warning');
  process.on('warning', (warning) => logger.warn({ err: warning }, warning.message));
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error }, 'unexpected error');
    process.exit(1);
  });
}
