/** Measures the CPU time of a server and of this process while a load runs. */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * CPU time divided by wall time, in cores, over the measured time only: without the warm-up before it, and without the
 * wait for the last acquisitions after it.
 */
export class CpuWindow {
  private readonly usage: Promise<{ readonly clientCores: number; readonly serverCores: number }>;

  constructor(serverPid: number, warmUpMs: number, durationMs: number) {
    this.usage = (async () => {
      await sleep(warmUpMs);
      const serverBefore = await treeCpuSeconds(serverPid);
      const clientBefore = process.cpuUsage();
      const startMs = performance.now();
      await sleep(durationMs);
      const { user, system } = process.cpuUsage(clientBefore);
      const serverSeconds = (await treeCpuSeconds(serverPid)) - serverBefore;
      const seconds = (performance.now() - startMs) / 1000;
      return { clientCores: (user + system) / 1e6 / seconds, serverCores: serverSeconds / seconds };
    })();
  }

  result() {
    return this.usage;
  }
}

/** User and system time of a process and its threads, from /proc; NaN on systems other than Linux. */
async function cpuSeconds(pid: number): Promise<number> {
  try {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}

/** CPU time of a process and all its descendants: MLServer may, and Triton does, run models in child processes. */
async function treeCpuSeconds(pid: number): Promise<number> {
  let total = await cpuSeconds(pid);
  // Each thread has a list of the children that it started; it may end meanwhile.
  for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const children = await readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '');
    for (const child of children.split(' ').filter(Boolean)) total += await treeCpuSeconds(Number(child));
  }
  return total;
}
