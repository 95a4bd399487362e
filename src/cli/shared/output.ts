/** What every verb shares: JSON lines on stdout, progress on stderr, exit codes. */
import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import { SaladError } from '../../errors/index.js';

/** Exit codes of `salad`; 130 follows the shell's convention for SIGINT. */
export const EXIT = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** One JSON value on one line of stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** A line for people on stdout. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** A line for people on stderr: notes beside the result. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Columns aligned for people; numbers should come formatted. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export interface Progress {
  /** Moves to `value` and replaces the text after the bar. */
  update(value: number, text?: string): void;
  stop(): void;
}

/** A bar with ETA on stderr in a terminal, else a plain line at most every five seconds. */
export function createProgress(label: string, total: number): Progress {
  if (process.stderr.isTTY) {
    const bars = new MultiBar(
      {
        format: `${label} [{bar}] {value}/{total} ETA {eta_formatted} {text}`,
        stream: process.stderr,
        hideCursor: true,
      },
      Presets.shades_classic,
    );
    const bar: SingleBar = bars.create(total, 0, { text: '' });
    return {
      update: (value, text = '') => bar.update(value, { text }),
      stop: () => bars.stop(),
    };
  }
  let last = Date.now();
  const started = last;
  return {
    update(value, text = '') {
      const now = Date.now();
      if (now - last < 5000) return;
      last = now;
      const eta = value > 0 ? Math.round((((now - started) / value) * (total - value)) / 1000) : 0;
      note(`${label} ${value}/${total} (ETA ${eta} s) ${text}`.trimEnd());
    },
    stop() {},
  };
}

/** Exit code for something thrown: wrong usage or configuration is 2, an interrupt 130, the rest 1. */
export function exitCodeFor(error: unknown): number {
  if (error instanceof SaladError) {
    if (error.reason === 'CONFIGURATION_INVALID') return EXIT.usage;
    if (error.reason === 'CANCELLED') return EXIT.interrupted;
  }
  return EXIT.failure;
}
