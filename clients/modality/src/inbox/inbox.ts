/** The durable store of the gateway: files of instances, and the index of their states. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SaladError } from '../../../../src/errors/index.js';
import { type ReadDiskSpace, readDiskSpace } from './disk-space.js';
import { syncFolder } from './durable-file.js';
import { createFolders, foldersOf, type InboxFolders } from './folders.js';
import { Incoming, type IncomingContext, type IncomingOptions } from './incoming.js';
import type { Instance } from './instance.js';
import { InstanceIndex } from './instance-index.js';
import { lockInbox } from './owner-lock.js';
import { type Recovery, recover } from './recovery.js';

export interface InboxOptions {
  /** Bytes of the disk that stay free: below, instances are refused. */
  readonly keepFreeBytes: number;
  readonly instanceBytesMax: number;
  /** Time in ms since 1970. @default Date.now */
  readonly now?: () => number;
  /** Time in ms that nobody sets. @default performance.now */
  readonly monotonicNow?: () => number;
  readonly readDiskSpace?: ReadDiskSpace;
}

/** A clock that is adjusted in small steps, or runs a little fast, is not one that was set. */
const CLOCK_STEP_MS = 60_000;

export class Inbox {
  /** Work on a UID waits for earlier work on the same. */
  private readonly queues = new Map<string, Promise<unknown>>();
  private incoming = 0;
  /** Between the clock and the time that nobody sets. */
  private clockOffsetMs: number;

  private constructor(
    readonly folders: InboxFolders,
    readonly index: InstanceIndex,
    readonly recovery: Recovery,
    private readonly options: InboxOptions,
    private readonly unlock: () => void,
  ) {
    this.clockOffsetMs = this.readClockOffset();
  }

  /**
   * Opens an inbox as its owner, and creates it where there is none.
   * @throws SaladError CONFIGURATION_INVALID where another gateway has it open
   */
  static async open(root: string, options: InboxOptions): Promise<Inbox> {
    const folders = foldersOf(root);
    await createFolders(folders);
    const unlock = lockInbox(folders.lock);
    let index: InstanceIndex | undefined;
    try {
      index = new InstanceIndex(folders.index, options.now ?? Date.now);
      await syncFolder(folders.root);
      const recovery = await recover(folders, index);
      return new Inbox(folders, index, recovery, options, unlock);
    } catch (error) {
      index?.close();
      unlock();
      throw error;
    }
  }

  /** Call when nothing is received any more. */
  close(): void {
    this.index.close();
    this.unlock();
  }

  /** Instances that are being received. */
  get receiving(): number {
    return this.incoming;
  }

  /** Begins to receive an instance; end it with `keep` or `discard`. @throws SaladError STORAGE_FULL */
  async begin(options: IncomingOptions): Promise<Incoming> {
    this.incoming += 1;
    try {
      return await Incoming.begin(this.context(), options);
    } catch (error) {
      this.incoming -= 1;
      throw error;
    }
  }

  /** Whether an instance would be refused now. @throws SaladError STORAGE_FULL */
  async checkSpace(): Promise<void> {
    const read = this.options.readDiskSpace ?? readDiskSpace;
    const { freeBytes } = await read(this.folders.root);
    if (freeBytes >= this.options.keepFreeBytes) return;
    throw new SaladError(
      'STORAGE_FULL',
      `the disk of the inbox has ${freeBytes} bytes left, ${this.options.keepFreeBytes} are kept free`,
    );
  }

  /**
   * Removes the files of instances that were delivered so long ago. A clock that was set forward since the last call makes
   * none of them older.
   * @returns how many
   */
  async removeDelivered(keepMs: number): Promise<number> {
    const offset = this.readClockOffset();
    const forwardMs = offset - this.clockOffsetMs;
    this.clockOffsetMs = offset;
    this.index.correctDelivered(forwardMs > CLOCK_STEP_MS ? forwardMs : 0);
    const now = this.options.now ?? Date.now;
    const instances = this.index.deliveredBefore(now() - keepMs);
    for (const instance of instances) {
      await rm(pathOf(this.folders, instance), { force: true });
      this.index.fileRemoved(instance.id);
    }
    return instances.length;
  }

  private readClockOffset(): number {
    const { now = Date.now, monotonicNow = () => performance.now() } = this.options;
    return now() - monotonicNow();
  }

  private context(): IncomingContext {
    return {
      folders: this.folders,
      index: this.index,
      limits: this.options,
      checkSpace: () => this.checkSpace(),
      exclusively: (uid, work) => this.exclusively(uid, work),
      ended: () => {
        this.incoming -= 1;
      },
    };
  }

  private async exclusively<T>(uid: string, work: () => Promise<T>): Promise<T> {
    const earlier = this.queues.get(uid) ?? Promise.resolve();
    const own = earlier.then(work, work);
    this.queues.set(uid, own);
    try {
      return await own;
    } finally {
      if (this.queues.get(uid) === own) this.queues.delete(uid);
    }
  }
}

/** Path of an instance's file. */
export function pathOf(folders: InboxFolders, { file }: Pick<Instance, 'file'>): string {
  return join(folders.instances, file);
}

/** Removes an instance: its file, then its row. A file without a row would come back at the next start. */
export async function dropInstance(
  folders: InboxFolders,
  index: InstanceIndex,
  instance: Instance,
): Promise<void> {
  await rm(pathOf(folders, instance), { force: true });
  await syncFolder(folders.instances);
  index.remove(instance.id);
}
