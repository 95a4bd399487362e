/** Worker thread. Runs tasks one at a time, urgent ones first. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { failureFrom, type WorkerResult, type WorkerTask } from '../src/pool/messages.js';

interface QueuedTask {
  readonly task: WorkerTask;
  readonly resolve: (result: WorkerResult) => void;
}

export class TaskQueue {
  /** Urgent tasks, then the others; each group in order of arrival. */
  private readonly queue: QueuedTask[] = [];
  private isRunning = false;

  constructor(private readonly runTask: (task: WorkerTask) => Promise<WorkerResult>) {}

  /**
   * Queues the task. Never rejects. The pool posts tasks before earlier ones end; they run one after another, because
   * an engine runs one batch at a time.
   */
  run(task: WorkerTask): Promise<WorkerResult> {
    const result = new Promise<WorkerResult>((resolve) => {
      const index = isUrgent(task) ? this.urgentCount() : this.queue.length;
      this.queue.splice(index, 0, { task, resolve });
    });
    if (!this.isRunning) void this.runAll();
    return result;
  }

  /** Called between two pieces of a batch: an urgent tile waits for the end of a piece, not of a batch. */
  async runUrgentTasks(): Promise<void> {
    await nextTurn();
    while (this.urgentCount() > 0) await this.settle(this.queue.shift()!);
  }

  private urgentCount(): number {
    const firstRoutine = this.queue.findIndex(({ task }) => !isUrgent(task));
    return firstRoutine < 0 ? this.queue.length : firstRoutine;
  }

  private async runAll(): Promise<void> {
    this.isRunning = true;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      await this.settle(next);
      // Reads the tasks that arrived meanwhile: they may be urgent.
      await nextTurn();
    }
    this.isRunning = false;
  }

  private async settle({ task, resolve }: QueuedTask): Promise<void> {
    resolve(await this.runTask(task).catch((error: unknown) => failureFrom(error)));
  }
}

function isUrgent(task: WorkerTask): boolean {
  return task.type === 'run' && task.urgent;
}
