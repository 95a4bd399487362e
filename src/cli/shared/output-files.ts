/** Places that a verb will write to, tried before its work: hours of scoring must not end at a folder that is missing. */
import { lstat, mkdir, open, realpath, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { systemReason } from './failure.js';

/** A file to be written. */
export interface OutputFile {
  /** Such as `--report`. */
  readonly flag: string;
  readonly path: string;
  /** The input it is made from, where it is made from one. */
  readonly input?: string;
}

/**
 * Makes missing folders and tries to write every file; a file that exists keeps its content.
 * @param inputs files that are read: no output may be one of them
 * @throws SaladError CONFIGURATION_INVALID for a place that cannot be written, an input, or one place for two files
 */
export async function prepareFiles(
  outputs: readonly OutputFile[],
  inputs: readonly string[] = [],
): Promise<void> {
  await refuseClashes(outputs, inputs);
  for (const { flag, path } of outputs) {
    await attempt(flag, path, async () => {
      await makeFolder(dirname(path));
      await tryFile(path);
    });
  }
}

/**
 * Makes a folder, where it is missing, and tries to write into it.
 * @throws SaladError CONFIGURATION_INVALID
 */
export async function prepareFolder(flag: string, folder: string): Promise<void> {
  await attempt(flag, folder, async () => {
    await makeFolder(folder);
    await tryFile(join(folder, `.salad-${process.pid}.tmp`));
  });
}

async function attempt(flag: string, path: string, work: () => Promise<void>): Promise<void> {
  // An unset variable of a script: it would stand for the current folder.
  if (path === '') throw new SaladError('CONFIGURATION_INVALID', `${flag} is empty`);
  try {
    await work();
  } catch (error) {
    const message = `${flag} ${path} cannot be written: ${systemReason(error)}`;
    throw new SaladError('CONFIGURATION_INVALID', message, { cause: error });
  }
}

/** One folder after the other: Node's own `recursive` never returns for a folder in /proc. */
async function makeFolder(folder: string): Promise<void> {
  const missing: string[] = [];
  let at = resolve(folder);
  while (!(await exists(at))) {
    missing.push(at);
    at = dirname(at);
  }
  if (!(await stat(at)).isDirectory()) throw new Error(`${at} is not a folder`);
  for (const each of missing.reverse()) await mkdir(each);
}

/** Opens the file for writing, which is the only proof that it can be; leaves nothing behind. */
async function tryFile(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) throw new Error('it is a folder');
  // Opening a pipe would wait for its reader.
  if (info !== undefined && !info.isFile()) return;
  const isNew = !(await lstat(path).then(
    () => true,
    () => false,
  ));
  const file = await open(path, 'a');
  await file.close();
  if (isNew) await unlink(path);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function refuseClashes(outputs: readonly OutputFile[], inputs: readonly string[]): Promise<void> {
  const read = new Set<string>();
  for (const input of inputs) read.add(await identityOf(input));
  const taken = new Map<string, OutputFile>();
  for (const output of outputs) {
    const identity = await identityOf(output.path);
    if (identity !== ANY && read.has(identity)) throw refused(output, 'is one of the files that are read');
    const other = taken.get(identity);
    if (other === undefined) taken.set(identity, output);
    else if (identity !== ANY && !isSameInput(output, other)) throw refused(output, clash(output, other));
  }
}

function refused({ flag, path }: OutputFile, why: string): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `${flag} ${path} ${why}`);
}

function clash(output: OutputFile, other: OutputFile): string {
  return output.input !== undefined && other.input !== undefined
    ? `would be written for ${other.input} and for ${output.input}`
    : `is also the file of ${other.flag}`;
}

/** The same image twice on a command line gives the same output twice. */
function isSameInput(a: OutputFile, b: OutputFile): boolean {
  return a.input !== undefined && b.input !== undefined && resolve(a.input) === resolve(b.input);
}

/** Stands for every device and pipe: they may take several outputs. */
const ANY = 'device';

/** The same text for the same file, whichever way it is named; also for a file that is still to be made. */
async function identityOf(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  if (info !== undefined) return info.isFile() ? `${info.dev}:${info.ino}` : ANY;
  const rest: string[] = [];
  let at = resolve(path);
  for (;;) {
    const real = await realpath(at).catch(() => undefined);
    if (real !== undefined) return foldCase(join(real, ...rest));
    rest.unshift(basename(at));
    if (dirname(at) === at) return foldCase(resolve(path));
    at = dirname(at);
  }
}

/** Where file systems take `A.png` and `a.png` for one file. */
function foldCase(path: string): string {
  return process.platform === 'darwin' || process.platform === 'win32' ? path.toLowerCase() : path;
}
