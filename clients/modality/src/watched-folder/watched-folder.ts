/**
 * Takes DICOM files from a folder that a modality or a script copies them into. A file is removed from the folder only
 * when the inbox keeps it; one that cannot be taken is moved to `refused/`, never deleted.
 */
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../../../src/errors/index.js';
import type { Places } from '../../../../src/util/places.js';
import { settledWithin } from '../../../../src/util/time-limit.js';
import { syncFolder } from '../inbox/durable-file.js';
import type { Inbox } from '../inbox/inbox.js';
import type { Priority } from '../inbox/instance.js';
import { Part10Receiver } from '../inbox/part10-receiver.js';
import { claim, findFiles, REFUSED, type ReadFolder, readFolder, unclaimedName } from './files.js';
import { FolderCalls, placesForCalls } from './folder-calls.js';

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
  /** For calls of the file system, of all watched folders. @default places of its own */
  readonly places?: Places;
  /** A folder whose file system takes longer for one call counts as unreadable. @default 30 s */
  readonly answerMs?: number;
  /** @default that of the operating system */
  readonly readFolder?: ReadFolder;
}

export interface WatchedFolderEvents {
  /** @param durationMs from the begin of reading until it was durable */
  taken(instance: number, outcome: 'stored' | 'duplicate', durationMs: number): void;
  /** The file is in `refused/` now. */
  fileRefused(error: SaladError): void;
  /** The file waits in the folder. */
  postponed(error: SaladError): void;
  /** Once when it begins, and when the reason changes. @param path of the settings */
  folderUnreadable(path: string, reason: string): void;
  /** It can be read again. */
  folderReadable(path: string): void;
}

/** Bytes read and written to the inbox at a time. */
const CHUNK_BYTES = 256 * 1024;
const PIXELS_MAX = 2 ** 28;
const ANSWER_MS = 30_000;

/** By these a change of a file is noticed. Not by its inode: on some network volumes it has no fixed number. */
interface Version {
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

interface Seen extends Version {
  /** When it was first seen so. */
  readonly sinceMs: number;
}

export class WatchedFolder {
  private readonly seen = new Map<string, Seen>();
  private readonly now: () => number;
  private readonly answerMs: number;
  private readonly calls: FolderCalls;
  private timer: NodeJS.Timeout | undefined;
  /** What is done in the folder now. */
  private round: Promise<void> | undefined;
  private isStopped = false;
  /** Number of the volume that the folder was on when it was first read. */
  private device: number | undefined;
  private reason: string | undefined;

  constructor(private readonly options: WatchedFolderOptions) {
    const { places = placesForCalls(), answerMs = ANSWER_MS, now = () => performance.now() } = options;
    this.now = now;
    this.answerMs = answerMs;
    this.calls = new FolderCalls({ places, answerMs, now });
  }

  get path(): string {
    return this.options.path;
  }

  /** Why files in it may wait unseen: the folder cannot be read. Undefined where it can. */
  get unreadable(): string | undefined {
    return this.reason;
  }

  /**
   * Creates the folder where it is missing, and looks into it from now on. A file system that does not answer does not
   * hold up the start of the program: the folder is unreadable then, until it answers.
   */
  async start(): Promise<void> {
    const opened = this.inRound(() => this.open());
    await settledWithin(opened, this.answerMs);
    this.checkAnswer();
    const next = () => {
      this.timer = setTimeout(() => {
        void this.poll();
        next();
      }, this.options.pollMs);
    };
    if (!this.isStopped) next();
  }

  /** Waits for the file that is being taken, for `graceMs` at most. The next start takes it again. */
  async stop(graceMs: number): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    if (this.round === undefined || this.calls.fault !== undefined) return;
    await settledWithin(
      this.round.catch(() => {}),
      graceMs,
    );
  }

  /** Takes every file that is complete; while that still runs, sees only whether the file system answers. Never rejects. */
  async poll(): Promise<void> {
    if (this.round !== undefined) return this.checkAnswer();
    await this.inRound(() => this.takeAll());
  }

  private inRound(work: () => Promise<void>): Promise<void> {
    const round = work().finally(() => {
      this.round = undefined;
    });
    this.round = round;
    return round;
  }

  private async takeAll(): Promise<void> {
    const files = await this.look();
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

  private async open(): Promise<void> {
    await this.makeRefused();
    this.device = (await this.calls.run(() => stat(this.options.path))).dev;
  }

  private checkAnswer(): void {
    const { fault } = this.calls;
    if (fault !== undefined) this.report(fault);
  }

  /** @param reason why the folder cannot be read; undefined where it can */
  private report(reason: string | undefined): void {
    if (reason === this.reason) return;
    this.reason = reason;
    const { path, events } = this.options;
    if (reason === undefined) events.folderReadable(path);
    else events.folderUnreadable(path, reason);
  }

  private async makeRefused(): Promise<void> {
    const folder = join(this.options.path, REFUSED);
    await this.calls.run(() => mkdir(folder, { recursive: true, mode: 0o700 }));
  }

  /** Finds the files, and reports it where the folder cannot be read, and where it can be read again. */
  private async look(): Promise<readonly string[]> {
    const { path, readFolder: read = readFolder } = this.options;
    const { files, hasRefused, fault } = await findFiles(path, (folder) =>
      this.calls.run(() => read(folder)),
    );
    this.report(fault ?? (await this.faultOfVolume(hasRefused)));
    return files;
  }

  /**
   * A volume that is not mounted leaves an empty folder, which can be read and has no `refused/`. On the volume of the
   * start `refused/` was removed by a person and is made again.
   */
  private async faultOfVolume(hasRefused: boolean): Promise<string | undefined> {
    if (hasRefused && this.device !== undefined) return undefined;
    try {
      const { dev } = await this.calls.run(() => stat(this.options.path));
      this.device ??= dev;
      if (hasRefused) return undefined;
      if (dev !== this.device) {
        return 'it is on another volume than at the start: mount its volume, or create refused/ in it';
      }
      await this.makeRefused();
      return undefined;
    } catch (error) {
      return `refused/ cannot be made in it (${(error as NodeJS.ErrnoException).code})`;
    }
  }

  private async consider(path: string): Promise<void> {
    const now = this.now();
    const version = await this.calls.run(() => stat(path, { bigint: true }));
    const before = this.seen.get(path);
    if (before === undefined || !isSame(before, version)) {
      this.seen.set(path, { size: version.size, mtimeNs: version.mtimeNs, sinceMs: now });
      return;
    }
    const unchangedMs = now - before.sinceMs;
    if (unchangedMs < this.options.settleMs) return;
    let at = path;
    try {
      await this.checkComplete(path, Number(version.size));
      at = await this.calls.run(() => claim(path));
      // A new file of the old name must settle by itself.
      if (at !== path) this.seen.delete(path);
      await this.take(at, before);
    } catch (error) {
      await this.failed(at, SaladError.from(error), unchangedMs);
    }
  }

  /** Refuses a file without its end, which another program may still be writing. */
  private async checkComplete(path: string, bytes: number): Promise<void> {
    await this.options.inbox.checkSpace();
    const file = await this.options.decoder.openFile(path, { maxPixels: PIXELS_MAX, bytes });
    file.close();
  }

  /** Keeps a claimed file and removes it. One that was changed since it was seen stays: it has to settle again. */
  private async take(path: string, seen: Version): Promise<void> {
    const { inbox, priority, events } = this.options;
    const receiver = new Part10Receiver(inbox, priority);
    const file = await this.calls.run(() => open(path, 'r'));
    try {
      const isUnchanged = async () => isSame(seen, await this.calls.run(() => file.stat({ bigint: true })));
      if (!(await isUnchanged())) return;
      for await (const chunk of this.chunksOf(file)) await receiver.write(chunk);
      if (!(await isUnchanged())) return await receiver.discard();
      const { id, outcome, durationMs } = await receiver.keep();
      events.taken(id, outcome, durationMs);
      // By a program that still has it open.
      if (!(await isUnchanged())) return;
    } catch (error) {
      await receiver.discard();
      throw error;
    } finally {
      // Before the removal: NFS keeps the content of an open file under another name in the folder.
      await this.calls.run(() => file.close());
    }
    await this.calls.run(() => unlink(path));
    await this.calls.run(() => syncFolder(dirname(path)));
  }

  /** The rest of a file. */
  private async *chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
    for (;;) {
      // A new one each time: the receiver may keep it.
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await this.calls.run(() => file.read(chunk, 0, CHUNK_BYTES));
      if (bytesRead === 0) return;
      yield chunk.subarray(0, bytesRead);
    }
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
    const taken = new Set(await this.calls.run(() => readdir(folder)));
    const own = unclaimedName(path);
    let name = own;
    for (let number = 2; taken.has(name); number++) name = `${own}.${number}`;
    await this.calls.run(async () => {
      await rename(path, join(folder, name));
      await syncFolder(folder);
      await syncFolder(dirname(path));
    });
  }
}

function isSame(a: Version, b: Version): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs;
}
