/** Writes the messages of Node and of libraries, which they print as text, to the log. */
import { setLogger } from '@grpc/grpc-js';
import type { Logger } from '../telemetry/logger.js';
import type { Exit } from '../util/immediate-exit.js';

/**
 * Logs warnings of Node, messages of grpc-js, and uncaught errors. An uncaught error ends the process with exit code 1,
 * as without this function.
 */
export function logForeign(logger: Logger, exit: Exit = process.exit): void {
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
    exit(1);
  });
}
