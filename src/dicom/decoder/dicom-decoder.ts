/** Opens DICOM files in decoder processes, one file in each process. Further files wait in order. */
import { stat } from 'node:fs/promises';
import { abortError, throwIfAborted } from '../../errors/abort.js';
import { SaladError } from '../../errors/index.js';
import type { OpenOptions } from '../decode.js';
import { DecoderProcess } from './decoder-process.js';
import { type DecoderProcesses, DicomFile } from './dicom-file.js';
import type { DecodingLimits } from './limits.js';
import type { StoredFile } from './messages.js';

export interface DicomDecoderOptions {
  /** Most processes. @default 2 */
  readonly processes?: number;
  /** An idle process is ended after this time. @default 15,000 */
  readonly idleMs?: number;
  /** Replaces the deadline that depends on the size of the image; for tests. */
  readonly deadlineMs?: number;
}

export interface FileOptions extends OpenOptions {
  readonly signal?: AbortSignal | undefined;
}

const PROCESSES = 2;
const IDLE_MS = 15_000;

interface Waiting {
  readonly begin: () => void;
  readonly fail: (error: SaladError) => void;
}

export class DicomDecoder implements DecoderProcesses {
  private readonly idle = new Map<DecoderProcess, NodeJS.Timeout>();
  private readonly processes = new Set<DecoderProcess>();
  private readonly waiting: Waiting[] = [];
  private inUse = 0;
  private closed = false;

  constructor(private readonly options: DicomDecoderOptions = {}) {}

  /**
   * Reads the header of a file; close what it returns.
   * @param bytes kept until the file is closed; not to be changed
   * @throws SaladError IMAGE_UNREADABLE where it cannot be parsed, IMAGE_TOO_LARGE, DECODING_LIMIT_EXCEEDED,
   *   DECODER_UNAVAILABLE; the reason of the signal
   */
  async open(bytes: Uint8Array, options: FileOptions): Promise<DicomFile> {
    return this.load(bytes, options);
  }

  /**
   * As `open`, for a file that the decoder process reads itself, so that this process never holds it.
   * @param options.bytes the size of the file where it is known: the file system of this process is then not asked
   * @throws as `open`; errors of the operating system
   */
  async openFile(
    path: string,
    { bytes, ...options }: FileOptions & { readonly bytes?: number },
  ): Promise<DicomFile> {
    return this.load({ path, bytes: bytes ?? (await stat(path)).size }, options);
  }

  private async load(
    source: Uint8Array | StoredFile,
    { signal, ...options }: FileOptions,
  ): Promise<DicomFile> {
    const file = new DicomFile(this, source, options);
    try {
      await file.load(signal);
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  /** Ends all processes, also busy ones. No file can be opened afterwards. */
  async close(): Promise<void> {
    this.closed = true;
    for (const waiting of this.waiting.splice(0)) waiting.fail(closedError());
    const all = [...this.processes];
    for (const process of all) process.kill();
    for (const timer of this.idle.values()) clearTimeout(timer);
    this.idle.clear();
    await Promise.all(all.map((process) => process.whenExited()));
  }

  /** Process ids of the decoder processes that run. */
  get pids(): readonly number[] {
    return [...this.processes].flatMap(({ pid, isUsable }) => (isUsable && pid !== undefined ? [pid] : []));
  }

  async lease(signal: AbortSignal | undefined): Promise<DecoderProcess> {
    if (this.closed) throw closedError();
    await this.waitForTurn(signal);
    try {
      return this.takeIdle() ?? (await this.start());
    } catch (error) {
      this.endTurn();
      throw error;
    }
  }

  release(process: DecoderProcess): void {
    if (process.isUsable && !this.closed) {
      const timer = setTimeout(() => this.discard(process), this.options.idleMs ?? IDLE_MS);
      timer.unref();
      this.idle.set(process, timer);
    } else this.discard(process);
    this.endTurn();
  }

  deadlineOf(limits: DecodingLimits): number {
    return this.options.deadlineMs ?? limits.deadlineMs;
  }

  private async start(): Promise<DecoderProcess> {
    const process = await DecoderProcess.start();
    this.processes.add(process);
    if (!this.closed) return process;
    this.discard(process);
    throw closedError();
  }

  private takeIdle(): DecoderProcess | undefined {
    for (const [process, timer] of this.idle) {
      clearTimeout(timer);
      this.idle.delete(process);
      if (process.isUsable) return process;
      this.processes.delete(process);
    }
    return undefined;
  }

  private discard(process: DecoderProcess): void {
    this.idle.delete(process);
    this.processes.delete(process);
    process.kill();
  }

  private waitForTurn(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    if (this.inUse < (this.options.processes ?? PROCESSES)) {
      this.inUse += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.waiting.splice(this.waiting.indexOf(waiting), 1);
        reject(abortError(signal));
      };
      const waiting: Waiting = {
        begin: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        fail: reject,
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.waiting.push(waiting);
    });
  }

  private endTurn(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.inUse -= 1;
    else next.begin();
  }
}

function closedError(): SaladError {
  return new SaladError('CANCELLED', 'the DICOM decoder is closed');
}

let shared: DicomDecoder | undefined;

/** The decoder for programs without a server. It does not prevent the exit of the program. */
export function sharedDicomDecoder(): DicomDecoder {
  shared ??= new DicomDecoder();
  return shared;
}
