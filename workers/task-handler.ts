/**
 * Worker thread. The function that piscina calls with each task: the queue orders the tasks, the runner performs them.
 * All of `workers/` runs in worker threads and child processes. The main thread's side of this one is `src/pool`.
 */
import { workerData } from 'node:worker_threads';
import type { WorkerResult, WorkerSetup, WorkerTask } from '../src/pool/messages.js';
import { TaskQueue } from './task-queue.js';
import { type CreateEngine, TaskRunner } from './task-runner.js';
import { yieldCores } from './yield-cores.js';

/** The default export of a worker's file. */
export type TaskHandler = (task: WorkerTask) => Promise<WorkerResult>;

/** @param createEngine source of the thread's engines */
export function createTaskHandler(createEngine: CreateEngine): TaskHandler {
  // piscina wraps the pool's workerData: [piscina's environment data, the pool's data].
  const setup: WorkerSetup = Array.isArray(workerData) ? workerData[1] : workerData;
  if (setup.isBackground === true) yieldCores();
  const runner = new TaskRunner(setup, createEngine, () => queue.runUrgentTasks());
  const queue = new TaskQueue((task) => runner.run(task));
  return (task) => queue.run(task);
}
