/** Free space of the disk that the inbox lies on. */
import { statfs } from 'node:fs/promises';

export interface DiskSpace {
  /** Bytes that this process may still write. */
  readonly freeBytes: number;
}

/** Replaceable, for tests. */
export type ReadDiskSpace = (folder: string) => Promise<DiskSpace>;

export const readDiskSpace: ReadDiskSpace = async (folder) => {
  const { bavail, bsize } = await statfs(folder);
  return { freeBytes: bavail * bsize };
};
