/**
 * Reserves the folder of a new bundle. It must be empty or absent, writable, and not in use by another run; all this is
 * checked before the work.
 */
import { existsSync, lstatSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { open, readFile, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { SaladError, systemReason } from '../../errors/index.js';
import { createFolders } from '../../util/create-folders.js';
import { CHECKPOINT_FILE } from '../encoders/salad/checkpoint.js';

function invalid(message: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message, cause === undefined ? {} : { cause });
}

/** Folder for the checkpoints of a run that writes to a bundle folder. */
export function checkpointDirectory(bundleDirectory: string): string {
  return `${resolve(bundleDirectory)}.checkpoint`;
}

/** `DIR/<name>/<version>` of a models folder. */
export function versionDirectory(models: string, name: string, version: number): string {
  return join(models, name, String(version));
}

const lockSchema = z.object({ pid: z.int(), host: z.string(), startedAt: z.string() });
type Lock = z.infer<typeof lockSchema>;

/** Lock files that this process holds. After a restart of a container, an old lock file may name the same process id. */
const heldLocks = new Set<string>();

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: the process exists and belongs to another user.
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

/** Whether the process that wrote a lock file has ended. A lock of another host is never stale. */
function isStale(file: string, lock: Lock | null): boolean {
  if (lock === null || lock.host !== hostname()) return false;
  return lock.pid === process.pid ? !heldLocks.has(file) : !isRunning(lock.pid);
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

/** Creates the lock file; replaces a stale one. @throws SaladError CONFIGURATION_INVALID where another run holds it */
async function acquireLock(file: string, now: Date): Promise<void> {
  try {
    await createLock(file, now);
    return;
  } catch (error) {
    if (Reflect.get(error as Error, 'code') !== 'EEXIST') throw error;
  }
  const lock = await readLock(file);
  if (!isStale(file, lock)) {
    const owner = lock
      ? `process ${lock.pid} on ${lock.host}, since ${lock.startedAt}`
      : 'a run that just began';
    throw invalid(`another run writes there (${owner}); if it has ended, delete ${file}`);
  }
  await unlink(file);
  await createLock(file, now);
}

/** Whether the path does not exist or is an empty folder. */
function isAvailable(directory: string): boolean {
  try {
    const info = lstatSync(directory, { throwIfNoEntry: false });
    return info === undefined || (info.isDirectory() && readdirSync(directory).length === 0);
  } catch {
    // A parent is not a folder or cannot be searched: the creation of the folder reports it.
    return true;
  }
}

/** One more than the highest version in the same folder, for a message. */
function nextVersion(directory: string): number {
  const siblings = existsSync(dirname(directory)) ? readdirSync(dirname(directory)) : [];
  const versions = siblings.filter((name) => /^[1-9]\d*$/.test(name)).map(Number);
  return Math.max(0, ...versions) + 1;
}

function refuseExisting(directory: string): void {
  if (isAvailable(directory)) return;
  const isVersion = /^[1-9]\d*$/.test(basename(directory));
  const advice = isVersion
    ? `give --version ${nextVersion(directory)} or another --out`
    : 'give another --out';
  throw invalid(`${directory} exists and is never overwritten: ${advice}`);
}

/**
 * Checks that the checkpoint folder fits `resume`.
 * @throws SaladError CONFIGURATION_INVALID where a checkpoint would be overwritten, or where there is none to resume
 */
function checkCheckpoint(directory: string, resume: boolean): void {
  const checkpoints = checkpointDirectory(directory);
  const exists = existsSync(join(checkpoints, CHECKPOINT_FILE));
  if (resume && !exists) {
    throw invalid(
      `--resume: there is no checkpoint in ${checkpoints}; to train from the start, omit --resume ` +
        '(presets without a learned encoder write none)',
    );
  }
  if (!resume && exists) {
    throw invalid(
      `${checkpoints} holds the checkpoint of an interrupted run: continue it with --resume, or delete the folder`,
    );
  }
}

/** Removes the folders from `innermost` up to `outermost`; stops at one that is not empty. */
function removeEmptyFolders(innermost: string, outermost: string): void {
  try {
    for (let folder = innermost; ; folder = dirname(folder)) {
      rmdirSync(folder);
      if (folder === outermost) return;
    }
  } catch {
    // Another process has put something there.
  }
}

/** Removes the lock file, and the created folders that are still empty. */
type ReleaseFolder = () => void;

/**
 * Reserves a bundle's folder for this run by a lock file beside it.
 * @param options.resume whether a learned encoder continues from its checkpoint; absent: the run does not train
 * @returns a function that releases the folder; call it when the bundle is written or the work has failed
 * @throws SaladError CONFIGURATION_INVALID where the folder is not empty or not writable, another run writes there, or
 *   its checkpoint does not fit `resume`
 */
export async function reserveBundleFolder(
  bundleDirectory: string,
  { resume, now = new Date() }: { readonly resume?: boolean; readonly now?: Date } = {},
): Promise<ReleaseFolder> {
  const directory = resolve(bundleDirectory);
  const parent = dirname(directory);
  const lock = `${directory}.lock`;
  refuseExisting(directory);
  let outermostCreated: string | undefined;
  try {
    outermostCreated = await createFolders(parent);
    await acquireLock(lock, now);
  } catch (error) {
    if (error instanceof SaladError) throw error;
    throw invalid(`nothing can be written to ${parent}: ${systemReason(error)}`, error);
  }
  heldLocks.add(lock);
  const release = (): void => {
    if (!heldLocks.delete(lock)) return;
    rmSync(lock, { force: true });
    if (outermostCreated !== undefined) removeEmptyFolders(parent, outermostCreated);
  };
  try {
    // Another run may have written the bundle between the first check and the lock.
    refuseExisting(directory);
    if (resume !== undefined) checkCheckpoint(directory, resume);
  } catch (error) {
    release();
    throw error;
  }
  return release;
}
