/** The folders of an inbox. */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from './durable-file.js';

export interface InboxFolders {
  readonly root: string;
  /** Files that are being received; their senders have no success status yet. */
  readonly temporary: string;
  /** One file per instance, named by the hash of its UID. */
  readonly instances: string;
  /** Files whose UID was known with other content. */
  readonly aside: string;
  /** The index (SQLite). */
  readonly index: string;
  readonly lock: string;
}

export function foldersOf(root: string): InboxFolders {
  return {
    root,
    temporary: join(root, 'temporary'),
    instances: join(root, 'instances'),
    aside: join(root, 'aside'),
    index: join(root, 'index.db'),
    lock: join(root, 'owner.db'),
  };
}

/** Creates what is missing, on the disk. Only the owner may read them: they hold data of patients. */
export async function createFolders(folders: InboxFolders): Promise<void> {
  await mkdir(folders.root, { recursive: true, mode: 0o700 });
  for (const folder of [folders.temporary, folders.instances, folders.aside]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await syncFolder(folders.root);
  await syncFolder(dirname(folders.root));
}
