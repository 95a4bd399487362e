/** Files that survive a power failure: content and folder entry are on the disk when a function returns. */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes the entries of a folder (new, renamed and removed files) to the disk. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** So many bytes are given to the disk at a time. */
const FLUSH_BYTES = 2 * 1024 * 1024;

/** A new file under a temporary name, which gets its final name once its content is on the disk. */
export class DurableFile {
  private written = 0;
  private flushedTo = 0;
  private flushed: Promise<void> = Promise.resolve();

  private constructor(
    private readonly file: FileHandle,
    private readonly path: string,
  ) {}

  /** @throws the error of the operating system, such as ENOSPC or EEXIST */
  static async create(path: string): Promise<DurableFile> {
    return new DurableFile(await open(path, 'wx', 0o600), path);
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.written;
  }

  /** Appends all bytes in order. A full disk shortens a write without an error, so the count is checked. */
  async write(...chunks: readonly Uint8Array[]): Promise<void> {
    let rest = chunks.filter(({ byteLength }) => byteLength > 0);
    while (rest.length > 0) {
      let { bytesWritten } = await this.file.writev(rest);
      if (bytesWritten === 0)
        throw Object.assign(new Error('ENOSPC: nothing was written'), { code: 'ENOSPC' });
      this.written += bytesWritten;
      rest = rest.flatMap((chunk) => {
        const skipped = Math.min(bytesWritten, chunk.byteLength);
        bytesWritten -= skipped;
        return skipped === chunk.byteLength ? [] : [chunk.subarray(skipped)];
      });
    }
    if (this.written - this.flushedTo >= FLUSH_BYTES) this.flush();
  }

  /** Lets the disk work while more is received. `finish` waits for it, and reports where it fails. */
  private flush(): void {
    this.flushedTo = this.written;
    const before = this.flushed;
    this.flushed = before.then(() => this.file.datasync());
    // `finish` or `discard` comes later.
    this.flushed.catch(() => {});
  }

  /**
   * Writes the content to the disk and closes the file, still under its temporary name.
   * @throws Error where its size is not what was written
   */
  async finish(): Promise<void> {
    await this.flushed;
    await this.file.sync();
    const { size } = await this.file.stat();
    await this.file.close();
    if (size !== this.written) throw new Error(`the file has ${size} bytes, ${this.written} were written`);
  }

  /** Gives the finished file its final name; the folder is on the disk afterwards. Replaces a file of that name. */
  async rename(to: string): Promise<void> {
    await rename(this.path, to);
    await syncFolder(dirname(to));
  }

  /** Removes the file; idempotent. */
  async discard(): Promise<void> {
    await this.flushed.catch(() => {});
    await this.file.close().catch(() => {});
    await rm(this.path, { force: true });
  }
}
