/**
 * Takes DICOM files from a folder that a modality or a script copies them into. A file is removed from the folder only
 * when the inbox keeps it; one that cannot be taken is moved to `refused/`, never deleted.
 */
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../../../src/errors/index.js';
import { syncFolder } from '../inbox/durable-file.js';
import type { Inbox } from '../inbox/inbox.js';
import type { Priority } from '../inbox/instance.js';
import { Part10Receiver } from '../inbox/part10-receiver.js';

export interface WatchedFolderOptions {
  readonly inbox: Inbox;
  /** Parses files in a process of its own. */
  readonly decoder: DicomDecoder;
  readonly path: string;
  readonly priority: Priority;
  /** A file is complete when it has not changed for so long, and its data set has an end. */
  readonly settleMs: number;
  /** A file without an end is refused when it has not changed for so long. */
  readonly incompleteMs: number;
  readonly pollMs: number;
  readonly events: WatchedFolderEvents;
  /** Time in ms, monotonic. @default performance.now */
  readonly now?: () => number;
}

export interface WatchedFolderEvents {
  /** @param durationMs from the begin of reading until it was durable */
  taken(instance: number, outcome: 'stored' | 'duplicate', durationMs: number): void;
  /** The file is in `refused/` now. */
  fileRefused(error: SaladError): void;
  /** The file waits in the folder. */
  postponed(error: SaladError): void;
}

const REFUSED = 'refused';
/** Names by which programs mark a file that they are still writing. */
const UNFINISHED = /^\.|\.(tmp|part|partial|filepart|crdownload)$/i;
/** Bytes read and written to the inbox at a time. */
const CHUNK_BYTES = 256 * 1024;
const PIXELS_MAX = 2 ** 28;

interface Seen {
  readonly size: number;
  readonly changedMs: number;
  /** When it was first seen with this size and time of change. */
  readonly sinceMs: number;
}

export class WatchedFolder {
  private readonly seen = new Map<string, Seen>();
  private timer: NodeJS.Timeout | undefined;
  private polling: Promise<void> = Promise.resolve();
  private isStopped = false;

  constructor(private readonly options: WatchedFolderOptions) {}

  /** Creates the folder where it is missing, and looks into it from now on. */
  async start(): Promise<void> {
    await mkdir(join(this.options.path, REFUSED), { recursive: true, mode: 0o700 });
    const next = () => {
      if (this.isStopped) return;
      this.timer = setTimeout(() => {
        this.polling = this.poll().finally(next);
      }, this.options.pollMs);
    };
    next();
  }

  /** Waits for the file that is being taken. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.polling;
  }

  /** Takes every file that is complete. Never rejects. */
  async poll(): Promise<void> {
    const files = await this.files();
    for (const path of [...this.seen.keys()]) if (!files.includes(path)) this.seen.delete(path);
    for (const path of files) {
      if (this.isStopped) return;
      try {
        await this.consider(path);
      } catch (error) {
        // Such as a file that was removed meanwhile, or a folder without permission to remove from it.
        this.options.events.postponed(SaladError.from(error));
      }
    }
  }

  private async files(): Promise<readonly string[]> {
    const entries = await readdir(this.options.path, { recursive: true, withFileTypes: true }).catch(
      () => [],
    );
    return entries
      .filter((entry) => entry.isFile() && !UNFINISHED.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !relative(this.options.path, path).startsWith(`${REFUSED}/`))
      .sort();
  }

  private async consider(path: string): Promise<void> {
    const now = (this.options.now ?? (() => performance.now()))();
    const { size, mtimeMs: changedMs } = await stat(path);
    const before = this.seen.get(path);
    if (before === undefined || before.size !== size || before.changedMs !== changedMs) {
      this.seen.set(path, { size, changedMs, sinceMs: now });
      return;
    }
    const unchangedMs = now - before.sinceMs;
    if (unchangedMs < this.options.settleMs) return;
    try {
      await this.take(path, size);
      this.seen.delete(path);
    } catch (error) {
      await this.failed(path, SaladError.from(error), unchangedMs);
    }
  }

  private async take(path: string, size: number): Promise<void> {
    const { inbox, decoder, priority, events } = this.options;
    await inbox.checkSpace();
    // Refuses a file without its end, which another program may still be writing.
    const file = await decoder.openFile(path, { maxPixels: PIXELS_MAX });
    file.close();
    const receiver = new Part10Receiver(inbox, priority);
    try {
      let bytes = 0;
      for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
        bytes += (chunk as Buffer).byteLength;
        await receiver.write(chunk as Buffer);
      }
      if (bytes !== size) throw new SaladError('IMAGE_UNREADABLE', 'the file changes while it is read');
      const { id, outcome, durationMs } = await receiver.keep();
      events.taken(id, outcome, durationMs);
    } catch (error) {
      await receiver.discard();
      throw error;
    }
    await rm(path);
    await syncFolder(dirname(path));
  }

  private async failed(path: string, error: SaladError, unchangedMs: number): Promise<void> {
    const { events, incompleteMs } = this.options;
    const isFinal = error.reason === 'INSTANCE_CONFLICT' || error.reason === 'MESSAGE_TOO_LARGE';
    const isIncomplete = error.reason === 'IMAGE_UNREADABLE' || error.reason === 'IMAGE_TOO_LARGE';
    if (!isFinal && !(isIncomplete && unchangedMs >= incompleteMs)) {
      if (!isIncomplete) events.postponed(error);
      return;
    }
    await this.refuse(path);
    this.seen.delete(path);
    events.fileRefused(error);
  }

  /** Moves a file to `refused/`, under another name where its own is taken. */
  private async refuse(path: string): Promise<void> {
    const folder = join(this.options.path, REFUSED);
    const taken = new Set(await readdir(folder));
    let name = basename(path);
    for (let number = 2; taken.has(name); number++) name = `${basename(path)}.${number}`;
    await rename(path, join(folder, name));
    await syncFolder(folder);
    await syncFolder(dirname(path));
  }
}
