/** Output of every command: results on stdout, progress and notes on stderr, exit codes. */
import { MultiBar, Presets } from 'cli-progress';

/** Exit codes of `salad`; 130 follows the shell's convention for SIGINT. */
export const EXIT = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const;

let isClosed = false;

/** Whether the reader of stdout has closed the pipe, as after `salad ... | head -1`. */
export function isStdoutClosed(): boolean {
  return isClosed;
}

/**
 * A closed stdout does not stop the work: training continues, a server keeps serving. A write error such as a full
 * disk is reported once and sets exit code 1.
 */
export function watchStandardStreams(): void {
  let isReported = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') isClosed = true;
    else if (!isReported) {
      isReported = true;
      process.exitCode = EXIT.failure;
      note(`salad: stdout cannot be written: ${error.message}`);
    }
  });
  // There is no other stream to report this on.
  process.stderr.on('error', () => {});
}

/** Prints a JSON value on one line of stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Prints a human-readable line on stdout. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** The progress bar that is on stderr now; notes must go through it, or they would be written into the bar. */
let activeBar: MultiBar | undefined;

/** Prints a human-readable line on stderr: messages that are not the result. */
export function note(line: string): void {
  const text = `${escapeControls(line)}\n`;
  if (activeBar) activeBar.log(text);
  else process.stderr.write(text);
}

/**
 * Replaces control characters except line ends and tabs, such as ESC by `\x1b`. File names and messages of servers may
 * contain control sequences, which a terminal would execute.
 */
function escapeControls(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, escapeCharacter);
}

/** Puts a name on one line: line ends, tabs and control characters become escapes. */
export function printable(name: string): string {
  return name.replace(/[\p{Cc}\u2028\u2029]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  const named: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  const code = character.charCodeAt(0);
  return (
    named[character] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`)
  );
}

/** If fewer characters are left for the last column, its text moves to lines of its own. */
const MIN_LAST_COLUMN_WIDTH = 20;
const OWN_LINE_INDENT = 4;

/**
 * A human-readable table with aligned columns. The caller formats numbers. Empty text without rows.
 * @param width of the screen in characters, at which the text of the last column is wrapped; undefined: no wrapping
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
        last.length <= room || room >= MIN_LAST_COLUMN_WIDTH
          ? indented(wrapWords(last, room), start)
          : `\n${' '.repeat(OWN_LINE_INDENT)}${indented(wrapWords(last, room + start - OWN_LINE_INDENT), OWN_LINE_INDENT)}`;
      return `${first.join('')}${lines}`.replace(/ +$/gm, '');
    })
    .join('\n');
}

function indented(lines: readonly string[], by: number): string {
  return lines.join(`\n${' '.repeat(by)}`);
}

/** Splits text at spaces into lines of at most `width` characters; a longer word is not split. */
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
  /** Sets the progress to `value` and replaces the text after the bar. */
  update(value: number, text?: string): void;
  stop(): void;
}

/** Shows progress on stderr: a bar with ETA in a terminal, else a plain line at most every five seconds. */
export function createProgress(label: string, total: number): Progress {
  return process.stderr.isTTY ? createBar(label, total) : createLines(label, total);
}

function createBar(label: string, total: number): Progress {
  const bars = new MultiBar(
    {
      format: `${label} [{bar}] {value}/{total} ETA {eta_formatted} {text}`,
      stream: process.stderr,
      barsize: 24,
      // Truncates long lines instead of turning off the terminal's wrapping: a killed process could not turn it on
      // again. It could not show a hidden cursor again either.
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
      // Writes the buffered notes; `stop` alone would drop them.
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
