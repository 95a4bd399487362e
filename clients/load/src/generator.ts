/** How busy the generator itself was: a generator that is late or out of processor time measures itself. */
import { performance } from 'node:perf_hooks';
import type { LatencySummary } from './statistics.js';

export interface GeneratorFigures {
  readonly processes: number;
  /** Processor time of all processes of the generator per second, in cores. */
  readonly cpuCores: number;
  /** Share of the time in which the event loop of the busiest process was not idle, in [0, 1]. */
  readonly eventLoopUtilization: number;
  /** From the scheduled start of an acquisition until the generator started it. */
  readonly startLateness: LatencySummary;
}

/** Measures this process from its creation to `end`. */
export class GeneratorUsage {
  readonly #startMs = performance.now();
  readonly #cpu = process.cpuUsage();
  readonly #loop = performance.eventLoopUtilization();

  /** @param startLateness of the acquisitions of this process */
  end(startLateness: LatencySummary): GeneratorFigures {
    const { user, system } = process.cpuUsage(this.#cpu);
    const ms = Math.max(1, performance.now() - this.#startMs);
    return {
      processes: 1,
      cpuCores: (user + system) / 1000 / ms,
      eventLoopUtilization: performance.eventLoopUtilization(this.#loop).utilization,
      startLateness,
    };
  }
}
