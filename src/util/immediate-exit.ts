/**
 * Ends the process while native threads compute. `process.exit` runs the destructors of native libraries, and a library
 * whose threads still compute then ends the process with SIGABRT or SIGSEGV instead of the exit code.
 */

/** Ends the process with this code. */
export type Exit = (code: number) => never;

/**
 * Call it early: the function that it returns must not wait for a module to load.
 * @returns a function that runs the `exit` listeners, so that the log is written, and then ends the process by `_exit`
 *   of the C library, which runs nothing else. Without koffi to call it: `process.exit`
 */
export async function loadImmediateExit(): Promise<Exit> {
  const endProcess = await loadCExit();
  return (code) => {
    // The last listener, after that of the log.
    if (endProcess !== undefined) process.on('exit', () => endProcess(code));
    return process.exit(code);
  };
}

async function loadCExit(): Promise<((code: number) => void) | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    return koffi.load(null).func('void _exit(int)') as (code: number) => void;
  } catch {
    return undefined;
  }
}
