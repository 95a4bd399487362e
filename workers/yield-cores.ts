import { constants, platform, setPriority } from 'node:os';

/**
 * Lowers the priority of the calling thread and of threads that it starts from now on, so that those that score go
 * first; where all cores are busy it still gets about a tenth of one, so that its work ends. Does nothing where the
 * system has a priority for the whole process only.
 */
export function yieldCores(): void {
  if (platform() !== 'linux') return;
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // A sandbox may forbid it: the thread then competes with those that serve.
  }
}
