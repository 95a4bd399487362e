/** One instance while it is received: written to a temporary file, kept or discarded at the end. */
import { createHash, randomUUID } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SaladError } from '../../../../src/errors/index.js';
import { isDiskFull } from './database.js';
import { DurableFile, syncFolder } from './durable-file.js';
import { fileMeta } from './file-meta.js';
import type { InboxFolders } from './folders.js';
import type { InstanceIdentity, Priority } from './instance.js';
import type { InstanceIndex } from './instance-index.js';

export interface IncomingOptions extends InstanceIdentity {
  readonly priority: Priority;
}

/** What became of an instance that the inbox answers for. */
export interface Kept {
  readonly id: number;
  /** `duplicate`: the same content was there already. */
  readonly outcome: 'stored' | 'duplicate';
  /** From the begin of the transfer until it was durable. */
  readonly durationMs: number;
}

/** What an incoming instance needs of its inbox. */
export interface IncomingContext {
  readonly folders: InboxFolders;
  readonly index: InstanceIndex;
  readonly limits: { readonly instanceBytesMax: number };
  /** @throws SaladError STORAGE_FULL where less than `keepFreeMib` is free */
  checkSpace(): Promise<void>;
  /** Runs `work` after all earlier work on this UID. */
  exclusively<T>(sopInstanceUid: string, work: () => Promise<T>): Promise<T>;
  /** Called once, at the end. */
  ended(): void;
}

/** Free space is read again after so many bytes. */
const CHECK_BYTES = 8 * 1024 * 1024;

export class Incoming {
  private readonly hash = createHash('sha256');
  private checkedAt = 0;
  private isOpen = true;
  private readonly beganAt = performance.now();

  private constructor(
    private readonly context: IncomingContext,
    private readonly options: IncomingOptions,
    private readonly file: DurableFile,
  ) {
    // The same pixels in another transfer syntax are other content.
    this.hash.update(`${options.syntaxUid}\0`);
  }

  /** @throws SaladError STORAGE_FULL */
  static async begin(context: IncomingContext, options: IncomingOptions): Promise<Incoming> {
    await context.checkSpace();
    let file: DurableFile | undefined;
    try {
      file = await DurableFile.create(join(context.folders.temporary, `${randomUUID()}.part`));
      await file.write(fileMeta(options));
      return new Incoming(context, options, file);
    } catch (error) {
      await file?.discard();
      throw storageError(error);
    }
  }

  /**
   * Appends bytes of the data set, in order.
   * @throws SaladError STORAGE_FULL, MESSAGE_TOO_LARGE; the instance is discarded then
   */
  async write(...chunks: readonly Uint8Array[]): Promise<void> {
    try {
      for (const chunk of chunks) this.hash.update(chunk);
      await this.file.write(...chunks);
      if (this.file.bytes > this.context.limits.instanceBytesMax) {
        throw new SaladError(
          'MESSAGE_TOO_LARGE',
          `the instance is larger than ${this.context.limits.instanceBytesMax} bytes`,
        );
      }
      if (this.file.bytes - this.checkedAt >= CHECK_BYTES) {
        this.checkedAt = this.file.bytes;
        await this.context.checkSpace();
      }
    } catch (error) {
      await this.discard();
      throw storageError(error);
    }
  }

  /**
   * Makes the instance durable: file and folder are on the disk, then the index is committed. Only now may it be
   * acknowledged.
   * @throws SaladError INSTANCE_CONFLICT where the UID is known with other content, STORAGE_FULL
   */
  async keep(): Promise<Kept> {
    try {
      await this.file.finish();
      const contentHash = this.hash.digest('hex');
      const placed = await this.context.exclusively(this.options.sopInstanceUid, () =>
        this.place(contentHash),
      );
      return { ...placed, durationMs: performance.now() - this.beganAt };
    } catch (error) {
      await this.file.discard();
      throw storageError(error);
    } finally {
      this.end();
    }
  }

  /** Removes what was received; idempotent. */
  async discard(): Promise<void> {
    this.end();
    await this.file.discard();
  }

  private async place(contentHash: string): Promise<Omit<Kept, 'durationMs'>> {
    const { index, folders } = this.context;
    const { sopInstanceUid } = this.options;
    const known = index.byUid(sopInstanceUid);
    if (known !== undefined && known.contentHash !== contentHash) return this.keepAside(contentHash);
    const file = `${createHash('sha256').update(sopInstanceUid).digest('hex')}.dcm`;
    if (known !== undefined) {
      if (known.state === 'delivered' || (await isWhole(join(folders.instances, known.file), known.bytes))) {
        await this.file.discard();
        return { id: known.id, outcome: 'duplicate' };
      }
      // The kept file is missing or damaged, and this is the same content.
      await this.file.rename(join(folders.instances, known.file));
      index.restored(known.id, this.file.bytes);
      return { id: known.id, outcome: 'stored' };
    }
    await this.file.rename(join(folders.instances, file));
    try {
      const id = index.add({ ...this.options, contentHash, file, bytes: this.file.bytes });
      return { id, outcome: 'stored' };
    } catch (error) {
      // It was not acknowledged, so it must not stay.
      await rm(join(folders.instances, file), { force: true });
      await syncFolder(folders.instances);
      throw error;
    }
  }

  private async keepAside(contentHash: string): Promise<never> {
    const { index, folders } = this.context;
    const file = `${contentHash}.dcm`;
    await this.file.rename(join(folders.aside, file));
    index.addConflict({ sopInstanceUid: this.options.sopInstanceUid, contentHash, file });
    throw new SaladError(
      'INSTANCE_CONFLICT',
      'an instance of this SOP Instance UID with other content is kept already; this one is set aside',
    );
  }

  private end(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.context.ended();
  }
}

async function isWhole(path: string, bytes: number): Promise<boolean> {
  return stat(path).then(
    ({ size }) => size === bytes,
    () => false,
  );
}

/** A full disk as an error with a reason; any other error unchanged. */
function storageError(error: unknown): unknown {
  return isDiskFull(error)
    ? new SaladError('STORAGE_FULL', 'the disk of the inbox is full', { cause: error })
    : error;
}
