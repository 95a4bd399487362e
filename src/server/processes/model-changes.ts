/** Changes the models of all processes, one change after another. */
import { SaladError } from '../../errors/index.js';
import type { Logger } from '../../telemetry/logger.js';
import { SerialQueue } from '../../util/serial-queue.js';
import type { ChangedModels, ModelChange } from './messages.js';
import type { ServerProcess } from './server-process.js';

export class ProcessModelChanges {
  private readonly queue = new SerialQueue();
  /** What calls have changed since the start, by `name@version`: a process that is started again does it too. */
  private readonly changed = new Map<string, ModelChange>();

  /** @param processes those that serve, in every call of the function */
  constructor(
    private readonly processes: () => readonly ServerProcess[],
    private readonly logger: Logger,
  ) {}

  /**
   * Changes the process that was called first: it says which version is meant, and whether it can be served. Then all
   * others. Where one of them cannot load the version, those that have loaded it unload it again.
   * @throws SaladError of the first process that refuses
   */
  change(called: ServerProcess, change: ModelChange): Promise<ChangedModels> {
    return this.queue.run(async () => {
      const done = await called.request<ChangedModels>(change);
      const loaded = done.servedBefore ? [] : [called];
      const results = await Promise.allSettled(
        this.processes()
          .filter((process) => process !== called)
          .map(async (process) => {
            if (!(await changeVersions(process, change.do, done))) loaded.push(process);
          }),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) {
        if (change.do === 'load') await this.undo(loaded, done);
        throw failed.reason;
      }
      for (const { name, version } of done.versions) {
        this.changed.set(`${name}@${version}`, { do: change.do, name, version });
      }
      return done;
    });
  }

  /** Brings a process that was started again to the models of the others. @param join then makes it one of them */
  catchUp(process: ServerProcess, join: () => void): Promise<void> {
    return this.queue.run(async () => {
      for (const change of this.changed.values()) {
        const versions = [{ name: change.name, version: change.version ?? 0 }];
        await changeVersions(process, change.do, { versions, servedBefore: true }).catch((error: unknown) => {
          this.logger.error({ err: error, ...change }, 'a server process does not serve what the others do');
        });
      }
      join();
    });
  }

  private async undo(processes: readonly ServerProcess[], done: ChangedModels): Promise<void> {
    await Promise.allSettled(processes.map((process) => changeVersions(process, 'unload', done)));
  }
}

/** @returns whether the process had served all of them before. What it does not serve is not unloaded. */
async function changeVersions(
  process: ServerProcess,
  action: ModelChange['do'],
  { versions }: ChangedModels,
): Promise<boolean> {
  let servedBefore = true;
  for (const { name, version } of versions) {
    try {
      const result = await process.request<ChangedModels>({ do: action, name, version });
      servedBefore &&= result.servedBefore;
    } catch (error) {
      const isGone = action === 'unload' && error instanceof SaladError && error.reason === 'MODEL_NOT_FOUND';
      // A process that ends is started again, and catches up then.
      if (!isGone && !process.hasEnded) throw error;
    }
  }
  return servedBefore;
}
