/** The tasks of one engine thread: one at a time, urgent ones before the others. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { failureFrom, type WorkerResult, type WorkerTask } from '../src/pool/messages.js';

interface Waiting {
  readonly task: WorkerTask;
  readonly answer: (result: WorkerResult) => void;
}

export class TaskQueue {
  private readonly waiting: Waiting[] = [];
  private working = false;

  constructor(private readonly perform: (task: WorkerTask) => Promise<WorkerResult>) {}

  /** Never rejects. Tasks run one after another even where the pool posts the next one early: an engine has one caller. */
  run(task: WorkerTask): Promise<WorkerResult> {
    const result = new Promise<WorkerResult>((answer) => {
      const at = isUrgent(task) ? this.firstNotUrgent() : this.waiting.length;
      this.waiting.splice(at, 0, { task, answer });
    });
    if (!this.working) void this.work();
    return result;
  }

  /** Called between two pieces of a batch: an urgent tile waits for a piece, never for a batch. */
  async letUrgentPass(): Promise<void> {
    await nextTurn();
    while (this.firstNotUrgent() > 0) await this.settle(this.waiting.shift()!);
  }

  private firstNotUrgent(): number {
    const at = this.waiting.findIndex(({ task }) => !isUrgent(task));
    return at < 0 ? this.waiting.length : at;
  }

  private async work(): Promise<void> {
    this.working = true;
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      await this.settle(next);
      // Tasks that arrived meanwhile may be more urgent than those that wait; they have not been read yet.
      await nextTurn();
    }
    this.working = false;
  }

  private async settle({ task, answer }: Waiting): Promise<void> {
    answer(await this.perform(task).catch((error: unknown) => failureFrom(error)));
  }
}

function isUrgent(task: WorkerTask): boolean {
  return task.type === 'run' && task.urgent;
}
