/** What libtensorflow and the CUDA driver read from the environment, once, when they are loaded. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Defaults for variables the process was not given. They have to be set on the main thread and before any
 * worker starts: a worker's `process.env` is a copy that native code does not see. Only main.ts (and the
 * bench's entry) may touch the environment, so this only says what to set.
 */
export function tensorflowEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const cacheHome = environment['XDG_CACHE_HOME'];
  const defaults: Record<string, string> = {
    // Without it TensorFlow takes the whole GPU at start, from everyone else on the machine.
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    // Kernels compiled for a GPU newer than the library take minutes; a read-only home loses them every time.
    CUDA_CACHE_PATH: join(cacheHome ?? tmpdir(), 'salad-serve', 'cuda'),
    CUDA_CACHE_MAXSIZE: String(2 ** 30),
    // Warnings and errors only.
    TF_CPP_MIN_LOG_LEVEL: '1',
  };
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => environment[name] === undefined));
}
