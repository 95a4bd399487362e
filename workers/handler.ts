/** What an engine worker answers tasks with. */
import { workerData } from 'node:worker_threads';
import type { WorkerResult, WorkerSetup, WorkerTask } from '../src/pool/messages.js';
import { type CreateEngine, EngineThread } from './engine-thread.js';
import { TaskQueue } from './task-queue.js';

/** What a worker's default export has to be: piscina calls it with each task. */
export type Handler = (task: WorkerTask) => Promise<WorkerResult>;

/** @param create where the thread takes its engines from */
export function createHandler(create: CreateEngine): Handler {
  // piscina wraps what the pool was given: [its own environment data, ours].
  const setup: WorkerSetup = Array.isArray(workerData) ? workerData[1] : workerData;
  const thread = new EngineThread(setup, create, () => queue.letUrgentPass());
  const queue = new TaskQueue((task) => thread.perform(task));
  return (task) => queue.run(task);
}
