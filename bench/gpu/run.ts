/** The parts of the GPU run, one after another, each within its time; whatever was measured is written at once. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Figures, PartReport, Report } from './report.js';
import { summaryOf } from './summary.js';

export interface RunContext {
  /** Shorter measurements that show that everything works; the figures mean nothing. */
  readonly quick: boolean;
  /** Folder of bundles. */
  readonly models: string;
  /** NAME/VERSION of every bundle in it. */
  readonly bundles: readonly string[];
  /** Appends to log.txt. */
  log(text: string): void;
  /** The results of the parts that ran before. */
  resultsOf(part: string): Figures;
}

export interface Part {
  readonly name: string;
  /** The longest it may take in a run of MINUTES; longer or shorter in proportion in other runs. */
  readonly seconds: number;
  /**
   * Measures, and records every figure as soon as it is known.
   * @param signal aborted at the end of the part's time
   */
  run(context: RunContext, record: (figures: Figures) => void, signal: AbortSignal): Promise<void>;
}

/** Time of a whole run, unless another is given. */
export const MINUTES = 8;
/** Time for the processes of a part to end after its signal. */
const END_MS = 12_000;
/** A part is not started with less time than this. */
const PART_SECONDS_MIN = 2;

/** Runs the parts and writes results.json and summary.txt after every figure. */
export class GpuRun {
  private readonly report: Report;

  /**
   * @param out folder of the results
   * @param startMs in ms of Date.now; everything ends within `minutes` of it
   */
  constructor(
    private readonly out: string,
    private readonly startMs: number,
    private readonly minutes: number,
    facts: Figures,
  ) {
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, 'log.txt'), '');
    this.report = { run: facts, parts: {} };
  }

  log(text: string): void {
    appendFileSync(join(this.out, 'log.txt'), text);
  }

  resultsOf(part: string): Figures {
    return this.report.parts[part]?.results ?? {};
  }

  /** @returns the report, also where parts failed */
  async perform(parts: readonly Part[], context: RunContext): Promise<Report> {
    for (const part of parts) {
      this.log(`=== ${part.name}\n`);
      await this.performPart(part, context);
    }
    this.write();
    return this.report;
  }

  private async performPart(part: Part, context: RunContext): Promise<void> {
    const endMs = this.startMs + 60_000 * this.minutes;
    const left = (endMs - Date.now() - END_MS) / 1000;
    const limitSeconds = Math.min((part.seconds * this.minutes) / MINUTES, left);
    const entry: PartReport = { status: 'skipped', seconds: 0, limitSeconds, results: {} };
    this.report.parts[part.name] = entry;
    if (limitSeconds < PART_SECONDS_MIN) {
      entry.reason = 'no time was left';
      this.write();
      return;
    }
    entry.status = 'incomplete';
    const startMs = performance.now();
    const record = (figures: Figures) => {
      Object.assign(entry.results, figures);
      this.write();
    };
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), 1000 * limitSeconds);
    try {
      await endingSoonAfter(limit.signal, part.run(context, record, limit.signal));
      entry.status = 'done';
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      entry.status = limit.signal.aborted ? 'incomplete' : 'failed';
      entry.reason = limit.signal.aborted ? `stopped after ${limitSeconds.toFixed(0)} s` : reason;
      this.log(`${reason}\n`);
    } finally {
      clearTimeout(timer);
      // Ends the processes of a part that failed.
      limit.abort();
    }
    entry.seconds = (performance.now() - startMs) / 1000;
    this.write();
  }

  private write(): void {
    writeFileSync(join(this.out, 'results.json'), `${JSON.stringify(this.report, null, 2)}\n`);
    writeFileSync(join(this.out, 'summary.txt'), summaryOf(this.report));
  }
}

/** Gives up on work that does not end within END_MS after the signal. */
async function endingSoonAfter(signal: AbortSignal, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const giveUp = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      timer = setTimeout(() => reject(new Error('it did not end in time')), END_MS);
    });
  });
  try {
    await Promise.race([work, giveUp]);
    if (signal.aborted) throw new Error('the time was over');
  } finally {
    clearTimeout(timer);
  }
}
