/** What every verb shares: JSON lines on stdout, progress and notes on stderr, exit codes. */
import { MultiBar, Presets } from 'cli-progress';

/** Exit codes of `salad`; 130 follows the shell's convention for SIGINT. */
export const EXIT = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const;

let isClosed = false;

/** Whether nobody reads stdout any more, as after `salad ... | head -1`. */
export function isStdoutClosed(): boolean {
  return isClosed;
}

/**
 * Who reads no further ends the reading, not the work: training goes on, a server serves. A full disk is told, once,
 * and makes the exit code 1.
 */
export function watchStandardStreams(): void {
  let isFull = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') isClosed = true;
    else if (!isFull) {
      isFull = true;
      process.exitCode = EXIT.failure;
      note(`salad: stdout cannot be written: ${error.message}`);
    }
  });
  // Nothing can be told any more.
  process.stderr.on('error', () => {});
}

/** One JSON value on one line of stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** A line for people on stdout. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** The bar that is drawn on stderr now: a note must not be written into it. */
let activeBar: MultiBar | undefined;

/** A line for people on stderr: notes beside the result. */
export function note(line: string): void {
  const text = `${withoutControls(line)}\n`;
  if (activeBar) activeBar.log(text);
  else process.stderr.write(text);
}

/** Names of files and messages of servers may hold sequences that a terminal would obey: ESC becomes `\x1b`. */
function withoutControls(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, escaped);
}

/** A name on one line: line ends, tabs and control characters as escapes. */
export function printable(name: string): string {
  return name.replace(/[\p{Cc}\u2028\u2029]/gu, escaped);
}

function escaped(character: string): string {
  const named: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  const code = character.charCodeAt(0);
  return (
    named[character] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`)
  );
}

/** Where less room is left for the last column, its text goes onto lines of its own. */
const MIN_LAST_COLUMN = 20;
const OWN_LINE_INDENT = 4;

/**
 * Columns aligned for people; numbers should come formatted. Empty without rows.
 * @param width of the screen, in characters: the text of the last column is wrapped at it; undefined: nowhere
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  width: number | undefined = process.stdout.columns,
): string {
  if (rows.length === 0) return '';
  const all = [header, ...rows].map((row) => row.map(printable));
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const start = widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 0);
  const room = (width ?? Number.POSITIVE_INFINITY) - start;
  return all
    .map((row) => {
      const first = row.slice(0, -1).map((cell, column) => `${cell.padEnd(widths[column] ?? 0)}  `);
      const last = row.at(-1) ?? '';
      const lines =
        last.length <= room || room >= MIN_LAST_COLUMN
          ? indented(wrapWords(last, room), start)
          : `\n${' '.repeat(OWN_LINE_INDENT)}${indented(wrapWords(last, room + start - OWN_LINE_INDENT), OWN_LINE_INDENT)}`;
      return `${first.join('')}${lines}`.replace(/ +$/gm, '');
    })
    .join('\n');
}

function indented(lines: readonly string[], by: number): string {
  return lines.join(`\n${' '.repeat(by)}`);
}

/** Lines of at most `width` characters, broken at spaces; a longer word stays whole. */
export function wrapWords(text: string, width: number): readonly string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    const longer = line === '' ? word : `${line} ${word}`;
    if (line === '' || longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

export interface Progress {
  /** Moves to `value` and replaces the text after the bar. */
  update(value: number, text?: string): void;
  stop(): void;
}

/** A bar with ETA on stderr in a terminal, else a plain line at most every five seconds. */
export function createProgress(label: string, total: number): Progress {
  return process.stderr.isTTY ? createBar(label, total) : createLines(label, total);
}

function createBar(label: string, total: number): Progress {
  const bars = new MultiBar(
    {
      format: `${label} [{bar}] {value}/{total} ETA {eta_formatted} {text}`,
      stream: process.stderr,
      barsize: 24,
      // Long lines are cut instead of turning the terminal's wrapping off: a process that is killed could not turn
      // it on again, nor show a hidden cursor.
      linewrap: true,
      hideCursor: false,
      etaBuffer: 100,
    },
    Presets.shades_classic,
  );
  const bar = bars.create(total, 0, { text: '' });
  activeBar = bars;
  return {
    update: (value, text = '') => bar.update(value, { text: printable(text) }),
    stop() {
      if (activeBar !== bars) return;
      activeBar = undefined;
      // Writes the notes that wait; stopping alone would drop them.
      bars.update();
      bars.stop();
    },
  };
}

function createLines(label: string, total: number): Progress {
  let last = Date.now();
  const started = last;
  return {
    update(value, text = '') {
      const now = Date.now();
      if (now - last < 5000) return;
      last = now;
      const eta = value > 0 ? Math.round((((now - started) / value) * (total - value)) / 1000) : 0;
      note(`${label} ${value}/${total} (ETA ${eta} s) ${printable(text)}`.trimEnd());
    },
    stop() {},
  };
}
