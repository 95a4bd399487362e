/**
 * Checks the output paths of a command before its work starts, so that hours of scoring do not end with a file that
 * cannot be written.
 */
import { lstat, open, realpath, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SaladError, systemReason } from '../../errors/index.js';
import { createFolders } from '../../util/create-folders.js';

/** A file to be written. */
export interface OutputFile {
  /** Such as `--report`. */
  readonly flag: string;
  readonly path: string;
  /** What is written; an existing file of another format is not replaced. @default any */
  readonly format?: OutputFormat;
  /** The input file that this output belongs to, if it belongs to one. */
  readonly input?: string;
}

export type OutputFormat = 'csv' | 'html' | 'json' | 'onnx';

/** How a file of the format begins. */
const BEGINS: Readonly<Record<OutputFormat, (text: string) => boolean>> = {
  csv: (text) => text.startsWith('file,'),
  html: (text) => /^\s*<!doctype html/i.test(text),
  // On one line, as commands print it; people indent the JSON files that they write.
  json: (text) => text.startsWith('{"'),
  // Field 1 (ir_version) of ModelProto.
  onnx: (text) => text.charCodeAt(0) === 8,
};

/**
 * Protects files that a mistyped path names, such as a manifest, a key or a mask: an existing file is replaced only by
 * the same format. Empty files, devices and pipes may be written.
 * @throws SaladError CONFIGURATION_INVALID
 */
export async function refuseOtherFormat(flag: string, path: string, format: OutputFormat): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || !info.isFile() || info.size === 0) return;
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
    if (BEGINS[format](buffer.toString('latin1', 0, bytesRead))) return;
  } finally {
    await file.close();
  }
  const why = `exists and holds something else than ${format.toUpperCase()} of this command`;
  throw new SaladError('CONFIGURATION_INVALID', `${flag} ${path} ${why}: choose another file, or remove it`);
}

/**
 * Creates missing folders and checks that every file can be written; an existing file keeps its content.
 * @param inputs files that are read: no output may be one of them
 * @throws SaladError CONFIGURATION_INVALID for a path that cannot be written, is an input, or is used by two outputs
 */
export async function prepareFiles(
  outputs: readonly OutputFile[],
  inputs: readonly string[] = [],
): Promise<void> {
  await checkConflicts(outputs, inputs);
  for (const { flag, path, format } of outputs) {
    await runWriteCheck(flag, path, async () => {
      await createFolders(dirname(path));
      await checkFileWritable(path);
    });
    if (format !== undefined) await refuseOtherFormat(flag, path, format);
  }
}

/**
 * Creates a folder if it is missing, and checks that files can be written into it.
 * @throws SaladError CONFIGURATION_INVALID
 */
export async function prepareFolder(flag: string, folder: string): Promise<void> {
  await runWriteCheck(flag, folder, async () => {
    await createFolders(folder);
    await checkFileWritable(join(folder, `.salad-${process.pid}.tmp`));
  });
}

/** @throws SaladError CONFIGURATION_INVALID that names the flag and the path, if `check` throws */
async function runWriteCheck(flag: string, path: string, check: () => Promise<void>): Promise<void> {
  // The cause is often an unset variable in a script; Node would use the current folder.
  if (path === '') throw new SaladError('CONFIGURATION_INVALID', `${flag} is empty: write a path`);
  try {
    await check();
  } catch (error) {
    const message = `${flag} ${path} cannot be written: ${systemReason(error)}`;
    throw new SaladError('CONFIGURATION_INVALID', message, { cause: error });
  }
}

/** Opens the file for writing, because permissions alone do not prove that it can be written; removes a new file. */
async function checkFileWritable(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) throw new Error('it is a folder');
  // Opening a pipe would block until it has a reader.
  if (info !== undefined && !info.isFile()) return;
  const isNew = !(await lstat(path).then(
    () => true,
    () => false,
  ));
  const file = await open(path, 'a');
  await file.close();
  if (isNew) await unlink(path);
}

/** @throws SaladError CONFIGURATION_INVALID if an output is an input, or two outputs are one file */
async function checkConflicts(outputs: readonly OutputFile[], inputs: readonly string[]): Promise<void> {
  const inputIdentities = new Set<string>();
  for (const input of inputs) inputIdentities.add(await identityOf(input));
  const outputByIdentity = new Map<string, OutputFile>();
  for (const output of outputs) {
    const identity = await identityOf(output.path);
    if (identity === DEVICE) continue;
    if (inputIdentities.has(identity)) {
      throw outputError(output, 'is one of the files that are read: choose another path');
    }
    const other = outputByIdentity.get(identity);
    if (other === undefined) outputByIdentity.set(identity, output);
    else if (!isSameInput(output, other)) throw outputError(output, conflictReason(output, other));
  }
}

function outputError({ flag, path }: OutputFile, reason: string): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `${flag} ${path} ${reason}`);
}

function conflictReason(output: OutputFile, other: OutputFile): string {
  return output.input !== undefined && other.input !== undefined
    ? `would be written for ${other.input} and for ${output.input}: put {folder} or {ext} into the path`
    : `is also the file of ${other.flag}: choose two paths`;
}

/** An image that is given twice writes the same output twice, which is allowed. */
function isSameInput(a: OutputFile, b: OutputFile): boolean {
  return a.input !== undefined && b.input !== undefined && resolve(a.input) === resolve(b.input);
}

/** Identity of every device and pipe: several outputs may use one. */
const DEVICE = 'device';

/** Returns the same text for the same file, for every spelling of its path; also for a file that does not exist yet. */
async function identityOf(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  if (info !== undefined) return info.isFile() ? `${info.dev}:${info.ino}` : DEVICE;
  const missing: string[] = [];
  let parent = resolve(path);
  for (;;) {
    const real = await realpath(parent).catch(() => undefined);
    if (real !== undefined) return foldCase(join(real, ...missing));
    missing.unshift(basename(parent));
    if (dirname(parent) === parent) return foldCase(resolve(path));
    parent = dirname(parent);
  }
}

/** Lower-cases the path on systems whose file systems treat `A.png` and `a.png` as one file. */
function foldCase(path: string): string {
  return process.platform === 'darwin' || process.platform === 'win32' ? path.toLowerCase() : path;
}
