/** CPU time of a server and of this process while a load runs. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Cores' worth of CPU time over the measured window: not the warm-up before, not the wait for the last ones after. */
export class CpuWindow {
  private readonly measured: Promise<{ readonly clientCores: number; readonly serverCores: number }>;

  constructor(serverPid: number, warmUpMs: number, durationMs: number) {
    this.measured = (async () => {
      await sleep(warmUpMs);
      const server = await treeCpuSeconds(serverPid);
      const client = process.cpuUsage();
      const at = performance.now();
      await sleep(durationMs);
      const { user, system } = process.cpuUsage(client);
      const serverSeconds = (await treeCpuSeconds(serverPid)) - server;
      const seconds = (performance.now() - at) / 1000;
      return { clientCores: (user + system) / 1e6 / seconds, serverCores: serverSeconds / seconds };
    })();
  }

  result() {
    return this.measured;
  }
}

/** User and system time of a process and its threads, from /proc (Linux; NaN elsewhere). */
async function cpuSeconds(pid: number): Promise<number> {
  try {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}

/** The process with all its descendants: MLServer may run its models in children. */
async function treeCpuSeconds(pid: number): Promise<number> {
  let total = await cpuSeconds(pid);
  try {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    for (const child of children.split(' ').filter(Boolean)) total += await treeCpuSeconds(Number(child));
  } catch {
    return total;
  }
  return total;
}
