/** Environment variables that libtensorflow and the CUDA driver read once, when they are loaded. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Defaults for variables that are not set. They must be set in the main thread before any worker starts: a worker's
 * `process.env` is a copy that native code does not read. Only main.ts and the entry of the benchmarks may change the
 * environment, so this function only returns the values.
 */
export function tensorflowEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const cacheHome = environment['XDG_CACHE_HOME'];
  const defaults: Record<string, string> = {
    // Without it TensorFlow allocates the whole GPU memory at start.
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    // Compiling kernels for a GPU newer than the library takes minutes; a read-only home folder cannot cache them.
    CUDA_CACHE_PATH: join(cacheHome ?? tmpdir(), 'salad-serve', 'cuda'),
    CUDA_CACHE_MAXSIZE: String(2 ** 30),
    // Hides informational messages.
    TF_CPP_MIN_LOG_LEVEL: '1',
  };
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => environment[name] === undefined));
}
