/** What the owner of an inbox does at its start, before it receives or sends anything. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileHead } from './file-head.js';
import type { InboxFolders } from './folders.js';
import { ATTEMPTS_MAX, FILE_IS_MISSING } from './instance.js';
import type { InstanceIndex } from './instance-index.js';

export interface Recovery {
  /** Instances that were being sent to the server. */
  readonly reset: number;
  /** Files without a row in the index, added to it: their commit was interrupted, or the index was lost. */
  readonly adopted: number;
  /** Files that are no DICOM files, left where they are. */
  readonly unknown: number;
  /** Instances whose file is missing or has another size; they are dead letters. */
  readonly lost: number;
  /** Files that were being received, and are removed: their senders got no success status. */
  readonly discarded: number;
}

export async function recover(folders: InboxFolders, index: InstanceIndex): Promise<Recovery> {
  const temporary = await readdir(folders.temporary);
  for (const name of temporary) await rm(join(folders.temporary, name), { force: true });
  const reset = index.resetStreaming(ATTEMPTS_MAX);
  const known = new Set<string>();
  let lost = 0;
  for (const { id, file, bytes, state } of index.list()) {
    known.add(file);
    if (state === 'delivered' || state === 'dead-letter') continue;
    const size = await stat(join(folders.instances, file)).then(
      (found) => found.size,
      () => undefined,
    );
    if (size === bytes) continue;
    lost += 1;
    index.deadLetter(id, size === undefined ? FILE_IS_MISSING : `its file has ${size} of ${bytes} bytes`);
  }
  let adopted = 0;
  let unknown = 0;
  for (const file of await readdir(folders.instances)) {
    if (known.has(file)) continue;
    if (await adopt(folders, index, file)) adopted += 1;
    else unknown += 1;
  }
  return { reset, adopted, unknown, lost, discarded: temporary.length };
}

/** A file gets its name only when all of it is on the disk, so it is complete. */
async function adopt(folders: InboxFolders, index: InstanceIndex, file: string): Promise<boolean> {
  const path = join(folders.instances, file);
  const head = await readFileHead(path).catch(() => undefined);
  if (head === undefined || index.byUid(head.sopInstanceUid) !== undefined) return false;
  const { sopClassUid, sopInstanceUid, syntaxUid, dataSetAt } = head;
  const hash = createHash('sha256').update(`${syntaxUid}\0`);
  for await (const chunk of createReadStream(path, { start: dataSetAt })) hash.update(chunk as Buffer);
  const { size } = await stat(path);
  const identity = { sopClassUid, sopInstanceUid, syntaxUid };
  index.add({ ...identity, contentHash: hash.digest('hex'), file, bytes: size, priority: 'routine' });
  return true;
}
