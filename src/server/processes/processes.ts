/**
 * Several server processes behind one port. The first process listens and hands every connection to the process with the
 * fewest; it loads no model. A process that ends takes no other with it, and is started again.
 */

import type { Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import type { ServeConfig } from '../../config/schema.js';
import type { Logger } from '../../telemetry/logger.js';
import { BackOff } from '../../util/back-off.js';
import { Health } from '../health.js';
import { type HealthPort, openHealthPort } from '../health-port.js';
import { checkListen, type Listeners, listenPaused, withPort } from '../listen.js';
import { SERVICE_NAMES } from '../server.js';
import { configOfProcess, partOf } from './division.js';
import { type Metrics, openMetrics } from './metrics-port.js';
import { ProcessModelChanges } from './model-changes.js';
import { ServerProcess } from './server-process.js';
import { stateOfAll } from './serving-state.js';

export interface RunningProcesses {
  /** HOST:PORT that the server listens on. */
  readonly address: string;
  readonly engine: string;
  /** Names with versions, such as "phantom@1". */
  readonly models: readonly string[];
  readonly processes: number;
  /** Refuses new calls in every process, waits for running ones for at most `graceMs`, then ends all. Idempotent. */
  stop(graceMs: number): Promise<void>;
  /** Ends all processes at once. */
  kill(): void;
}

export interface ProcessesOptions {
  readonly logger: Logger;
  readonly count: number;
  /** For the names of exported metrics. */
  readonly environment: NodeJS.ProcessEnv;
  /** File of the engine worker threads. @default the worker of this package */
  readonly workerEntry?: string;
}

/** Waits before a process is started again, in ms. */
const BACK_OFF_MS = 500;
const BACK_OFF_MAX_MS = 30_000;

/** @throws SaladError as `startServer`; ENGINE_FAILED where a process ends before it is ready */
export async function startProcesses(
  config: ServeConfig,
  options: ProcessesOptions,
): Promise<RunningProcesses> {
  await checkListen('listen', config.listen);
  await checkListen('healthListen', config.healthListen);
  const processes = new Processes(config, options);
  try {
    return await processes.start();
  } catch (error) {
    processes.kill();
    await processes.close();
    throw error;
  }
}

class Processes {
  /** All that run, those that start included. */
  private readonly running = new Set<ServerProcess>();
  /** Those that take connections; the first is the next of equally busy ones. */
  private readonly serving: ServerProcess[] = [];
  private readonly callsEnded = new Set<ServerProcess>();
  private readonly startedAt = new Map<ServerProcess, number>();
  private readonly health = new Health(SERVICE_NAMES);
  private readonly backOff = new BackOff<number>(BACK_OFF_MS, BACK_OFF_MAX_MS);
  private readonly changes: ProcessModelChanges;
  private readonly restarts = new Set<NodeJS.Timeout>();
  private listeners: Listeners | undefined;
  private healthPort: HealthPort | undefined;
  private metrics: Metrics | undefined;
  private stopping: Promise<void> | undefined;
  private isKilled = false;
  private onChange = () => {};

  constructor(
    private readonly config: ServeConfig,
    private readonly options: ProcessesOptions,
  ) {
    this.changes = new ProcessModelChanges(() => this.serving, options.logger);
  }

  async start(): Promise<RunningProcesses> {
    const { config } = this;
    const { count, logger, environment } = this.options;
    this.metrics = await openMetrics(config.metricsListen, environment);
    const started = Array.from({ length: count }, (_, index) => this.startProcess(index));
    const ready = await Promise.all(started.map(({ ready: each }) => each));
    for (const process of started) this.join(process);
    this.healthPort = await openHealthPort(config.healthListen, this.health, logger);
    this.listeners = await listenPaused('listen', config.listen, (socket) => this.dispatch(socket));
    const running = {
      address: withPort(config.listen, this.listeners.port),
      engine: ready[0]!.engine,
      models: ready[0]!.models,
      processes: count,
    };
    logger.info({ ...running, healthPort: this.healthPort?.port }, 'ready');
    // One that ended after it was ready, while others were not: until now nothing has started it again.
    for (const { hasEnded, start } of started) if (hasEnded) void this.restart(start.index);
    return {
      ...running,
      stop: (graceMs) => (this.stopping ??= this.drain(graceMs)),
      kill: () => this.kill(),
    };
  }

  /** Ends all processes at once; none is started again. */
  kill(): void {
    this.isKilled = true;
    for (const timer of this.restarts) clearTimeout(timer);
    for (const process of this.running) process.kill();
  }

  async close(): Promise<void> {
    this.listeners?.close();
    await this.healthPort?.close();
    await this.metrics?.close();
  }

  private startProcess(index: number): ServerProcess {
    const { config } = this;
    const { count, workerEntry, environment } = this.options;
    const process = new ServerProcess(
      {
        type: 'start',
        ...{ index, workerEntry, environment: { ...environment }, hasMetrics: this.metrics !== undefined },
        config: configOfProcess(config, index, count),
        cores: partOf(availableParallelism(), index, count),
      },
      {
        onState: () => this.publish(),
        onChange: (called, change) => this.changes.change(called, change),
        onCallsEnded: (ended) => {
          this.callsEnded.add(ended);
          this.onChange();
        },
        onEnd: (ended, how) => this.ended(ended, how),
      },
    );
    this.running.add(process);
    this.metrics?.add(process);
    return process;
  }

  private join(process: ServerProcess): void {
    if (process.hasEnded) return;
    this.startedAt.set(process, performance.now());
    this.serving.push(process);
    this.publish();
  }

  /** Hands the connection to the process with the fewest; of equally busy ones, to each in turn. */
  private dispatch(socket: Socket): void {
    // A client may reset its connection while no process has it.
    socket.on('error', () => {});
    const [first, ...others] = this.serving;
    if (first === undefined) {
      // The client tries again; there is nothing that could answer it.
      socket.destroy();
      return;
    }
    const process = others.reduce(
      (best, other) => (other.connections < best.connections ? other : best),
      first,
    );
    this.serving.splice(this.serving.indexOf(process), 1);
    this.serving.push(process);
    process.give(socket);
  }

  /** Tells every process, and the health port, what all together can do. */
  private publish(): void {
    const states = this.serving.flatMap(({ state }) => state ?? []);
    const isDraining = this.stopping !== undefined;
    const all = stateOfAll(states);
    const ofAll = isDraining ? { ...all, isServing: false, models: [] } : all;
    this.health.apply(ofAll);
    for (const process of this.serving) process.send({ type: 'state', ofAll });
  }

  private ended(process: ServerProcess, how: string): void {
    const { logger } = this.options;
    const { index } = process.start;
    const { pid: ofPid } = process;
    this.running.delete(process);
    this.metrics?.remove(process);
    const at = this.serving.indexOf(process);
    if (at >= 0) this.serving.splice(at, 1);
    this.onChange();
    if (this.isKilled || this.stopping !== undefined) {
      for (const socket of process.takeBack()) socket.destroy();
      return;
    }
    for (const socket of process.takeBack()) this.dispatch(socket);
    this.publish();
    // During the start of the server its caller gets the error.
    if (this.listeners === undefined) return;
    const now = performance.now();
    const servedMs = now - (this.startedAt.get(process) ?? now);
    this.startedAt.delete(process);
    const restartMs = this.backOff.recordFailure(index, now, servedMs);
    const left = this.serving.length;
    logger.error(
      { process: index, ofPid, how, restartMs, left },
      'a server process ended; it is started again',
    );
    const timer = setTimeout(() => {
      this.restarts.delete(timer);
      void this.restart(index);
    }, restartMs);
    this.restarts.add(timer);
  }

  private async restart(index: number): Promise<void> {
    const process = this.startProcess(index);
    try {
      await process.ready;
      await this.changes.catchUp(process, () => this.join(process));
      if (!process.hasEnded)
        this.options.logger.info(
          { process: index, ofPid: process.pid },
          'a server process was started again',
        );
    } catch (error) {
      if (this.stopping !== undefined || this.isKilled) return;
      this.options.logger.error({ err: error, process: index }, 'a server process did not start');
      // Its end starts it again.
      process.kill();
    }
  }

  /** One drain: every process refuses new calls until the last call of all has ended; then all end. */
  private async drain(graceMs: number): Promise<void> {
    for (const timer of this.restarts) clearTimeout(timer);
    // After this function has returned its promise, which `stopping` holds.
    await Promise.resolve();
    this.publish();
    for (const process of this.running) {
      if (this.serving.includes(process)) process.send({ type: 'drain', graceMs });
      else process.kill();
    }
    await this.until(() => this.serving.every((process) => this.callsEnded.has(process)));
    this.listeners?.close();
    for (const process of this.serving) process.send({ type: 'close' });
    await this.until(() => this.running.size === 0);
    await this.close();
  }

  private until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.onChange = () => {
        if (isSo()) resolve();
      };
      this.onChange();
    });
  }
}
