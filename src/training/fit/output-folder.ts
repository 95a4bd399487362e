/**
 * Reserves the folder that a new bundle is written to. It must be empty or absent, writable, and not in use by another
 * run; all of this is checked before the work.
 */
import { constants, existsSync, lstatSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { access, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { SaladError } from '../../errors/index.js';
import { CHECKPOINT_FILE } from '../encoders/salad/checkpoint.js';

function invalid(message: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message, cause === undefined ? {} : { cause });
}

/** Checkpoints of a run that writes to this bundle folder. */
export function checkpointDirectory(bundleDirectory: string): string {
  return `${resolve(bundleDirectory)}.checkpoint`;
}

/** `DIR/<name>/<version>` of a models folder. */
export function versionDirectory(models: string, name: string, version: number): string {
  return join(models, name, String(version));
}

const lockSchema = z.object({ pid: z.int(), host: z.string(), startedAt: z.string() });
type Lock = z.infer<typeof lockSchema>;

/** Lock files of this process. After a restart in a container an old lock file may name the same process id. */
const held = new Set<string>();

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there and another user's.
    return Reflect.get(error as Error, 'code') === 'EPERM';
  }
}

async function readLock(file: string): Promise<Lock | null> {
  try {
    return lockSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

function isLeftBehind(file: string, lock: Lock | null): boolean {
  if (lock === null || lock.host !== hostname()) return false;
  return lock.pid === process.pid ? !held.has(file) : !isRunning(lock.pid);
}

async function createLock(file: string, now: Date): Promise<void> {
  const handle = await open(file, 'wx');
  try {
    const lock: Lock = { pid: process.pid, host: hostname(), startedAt: now.toISOString() };
    await handle.writeFile(`${JSON.stringify(lock)}\n`);
  } finally {
    await handle.close();
  }
}

/** @throws SaladError CONFIGURATION_INVALID where another run holds it */
async function takeLock(file: string, now: Date): Promise<void> {
  try {
    await createLock(file, now);
    return;
  } catch (error) {
    if (Reflect.get(error as Error, 'code') !== 'EEXIST') throw error;
  }
  const lock = await readLock(file);
  if (!isLeftBehind(file, lock)) {
    const who = lock
      ? `process ${lock.pid} on ${lock.host}, since ${lock.startedAt}`
      : 'a run that just began';
    throw invalid(`another run writes there (${who}); if it is gone, delete ${file}`);
  }
  await unlink(file);
  await createLock(file, now);
}

/** Whether the path does not exist or is an empty folder. */
function isFree(directory: string): boolean {
  try {
    const info = lstatSync(directory, { throwIfNoEntry: false });
    return info === undefined || (info.isDirectory() && readdirSync(directory).length === 0);
  } catch {
    // A parent is no folder or cannot be searched: creating the folder will report it.
    return true;
  }
}

/** One more than the highest version beside this one, for a message. */
function nextVersion(directory: string): number {
  const siblings = existsSync(dirname(directory)) ? readdirSync(dirname(directory)) : [];
  const versions = siblings.filter((name) => /^[1-9]\d*$/.test(name)).map(Number);
  return Math.max(0, ...versions) + 1;
}

function refuseExisting(directory: string): void {
  if (isFree(directory)) return;
  const isVersion = /^[1-9]\d*$/.test(basename(directory));
  const advice = isVersion
    ? `give --version ${nextVersion(directory)} or another --out`
    : 'give another --out';
  throw invalid(`${directory} exists and is never overwritten: ${advice}`);
}

/** @throws SaladError CONFIGURATION_INVALID where a checkpoint would be overwritten, or there is none to resume */
function checkCheckpoint(directory: string, resume: boolean): void {
  const checkpoints = checkpointDirectory(directory);
  const exists = existsSync(join(checkpoints, CHECKPOINT_FILE));
  if (resume && !exists) {
    throw invalid(
      `--resume: there is no checkpoint in ${checkpoints}; to train from the start leave --resume out ` +
        '(presets without a learned encoder keep none)',
    );
  }
  if (!resume && exists) {
    throw invalid(
      `${checkpoints} holds the checkpoint of an interrupted run: continue it with --resume, or delete the folder`,
    );
  }
}

/** Folders that `mkdir` made, innermost first, as far as they are empty. */
function removeEmpty(innermost: string, outermost: string): void {
  try {
    for (let folder = innermost; ; folder = dirname(folder)) {
      rmdirSync(folder);
      if (folder === outermost) return;
    }
  } catch {
    // Something lies there by now.
  }
}

/**
 * Creates a folder and those above it, one by one: the recursive `mkdir` never returns on a file system that creates
 * nothing, such as /proc.
 * @returns the outermost folder that was created
 */
async function makeFolders(folder: string): Promise<string | undefined> {
  const missing: string[] = [];
  for (let each = folder; !existsSync(each) && dirname(each) !== each; each = dirname(each))
    missing.unshift(each);
  for (const each of missing) {
    await mkdir(each).catch((error: NodeJS.ErrnoException) => {
      // Another run creates it at the same time.
      if (error.code !== 'EEXIST') throw error;
    });
  }
  return missing[0];
}

/** Removes the lock file, and folders that were created and are still empty. */
export type ReleaseFolder = () => void;

/**
 * Reserves a bundle's folder for this run, by a lock file beside it.
 * @param options.resume whether a learned encoder continues from its checkpoint; absent: nothing is trained
 * @returns releases the folder; to be called when the bundle is written or the work has failed
 * @throws SaladError CONFIGURATION_INVALID where something lies there, another run writes there, nothing can be written
 *   there, or its checkpoint does not fit `resume`
 */
export async function reserveBundleFolder(
  bundleDirectory: string,
  { resume, now = new Date() }: { readonly resume?: boolean; readonly now?: Date } = {},
): Promise<ReleaseFolder> {
  const directory = resolve(bundleDirectory);
  const parent = dirname(directory);
  const lock = `${directory}.lock`;
  refuseExisting(directory);
  let made: string | undefined;
  try {
    made = await makeFolders(parent);
    await takeLock(lock, now);
  } catch (error) {
    if (error instanceof SaladError) throw error;
    throw invalid(`nothing can be written to ${parent}: ${(error as Error).message}`, error);
  }
  held.add(lock);
  const release = (): void => {
    if (!held.delete(lock)) return;
    rmSync(lock, { force: true });
    if (made !== undefined) removeEmpty(parent, made);
  };
  try {
    // Another run may have ended between the first look and the lock.
    refuseExisting(directory);
    if (resume !== undefined) checkCheckpoint(directory, resume);
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

/**
 * Whether a file can be written where it is asked for, before the work: nothing is created or changed.
 * @throws SaladError CONFIGURATION_INVALID naming the option
 */
export async function checkWritable(option: string, file: string): Promise<void> {
  const path = resolve(file);
  try {
    const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (info?.isDirectory()) throw new Error('it is a folder');
    await access(info ? path : dirname(path), constants.W_OK);
  } catch (error) {
    throw invalid(`${option} ${file} cannot be written: ${(error as Error).message}`, error);
  }
}
