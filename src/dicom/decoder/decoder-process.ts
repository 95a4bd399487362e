/** The parent's side of a decoder process: one request at a time, each with a deadline; discarded after any error. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { abortError, throwIfAborted } from '../../errors/abort.js';
import { SaladError } from '../../errors/index.js';
import { fromErrorData } from '../../errors/transfer.js';
import { readMessages, writeMessage } from './framing.js';
import { type DecoderReply, type DecoderRequest, MEMORY_SIGNAL } from './messages.js';

export interface Answer {
  readonly reply: Exclude<DecoderReply, { readonly type: 'failed' }>;
  readonly payload: Uint8Array;
}

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Most time from the start of the process to its first message. */
const START_MS = 60_000;
/** Characters kept of the stderr of a process. */
const STDERR_MAX = 2000;
/** JavaScript heap of the process; images are outside of it. */
const HEAP_MIB = 256;

export class DecoderProcess {
  private readonly channel: Duplex;
  private readonly exited: Promise<void>;
  private pending: Pending | undefined;
  private ended = false;
  private stderr = '';

  private constructor(private readonly child: ChildProcess) {
    this.channel = child.stdio[3] as Duplex;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString('utf8')).slice(-STDERR_MAX);
    });
    // Writing to a process that ends fails; the exit handler reports the reason.
    this.channel.on('error', () => {});
    readMessages(this.channel, (header, payload) => this.onReply(header as DecoderReply, payload));
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.end(new SaladError('DECODER_UNAVAILABLE', startFailure(error.message), { cause: error }));
        resolve();
      });
      child.once('exit', (code, signal) => {
        this.end(exitError(code, signal));
        resolve();
      });
    });
  }

  /** @throws SaladError DECODER_UNAVAILABLE */
  static async start(): Promise<DecoderProcess> {
    const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MIB}`, entry()], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    const started = new DecoderProcess(child);
    try {
      await started.answer(START_MS, undefined);
    } catch (error) {
      started.kill();
      const why = started.stderr.trim().split('\n').at(-1) || SaladError.from(error).message;
      throw new SaladError('DECODER_UNAVAILABLE', startFailure(why), { cause: error });
    }
    started.unref();
    return started;
  }

  /** False once it has ended or was killed. */
  get isUsable(): boolean {
    return !this.ended;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /**
   * Sends a request and waits for its reply. After an error of any kind the process is killed.
   * @throws SaladError of the reply; DECODING_LIMIT_EXCEEDED after the deadline or where it took too much memory;
   *   IMAGE_UNREADABLE where it crashed; the reason of the signal
   */
  async request(
    request: DecoderRequest,
    payload: Uint8Array,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Answer> {
    throwIfAborted(signal);
    this.ref();
    writeMessage(this.channel, request, payload);
    try {
      return await this.answer(deadlineMs, signal);
    } catch (error) {
      this.kill();
      throw error;
    } finally {
      this.unref();
    }
  }

  /** Ends the process at once. */
  kill(): void {
    this.ended = true;
    // Otherwise a program with nothing else to do would exit before its wait for the end of the process is over.
    this.child.ref();
    this.child.kill('SIGKILL');
  }

  /** Settles when the process has ended. */
  async whenExited(): Promise<void> {
    await this.exited;
  }

  private answer(deadlineMs: number, signal: AbortSignal | undefined): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.pending = undefined;
      };
      const fail = (error: unknown) => {
        settle();
        reject(error);
      };
      const onAbort = () => fail(abortError(signal));
      const timer = setTimeout(() => fail(tooSlow(deadlineMs)), deadlineMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.pending = {
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: fail,
      };
    });
  }

  private onReply(reply: DecoderReply, payload: Uint8Array): void {
    if (reply.type === 'failed') this.pending?.reject(fromErrorData(reply.error));
    else this.pending?.resolve({ reply, payload });
  }

  private end(error: SaladError): void {
    this.ended = true;
    this.channel.destroy();
    this.pending?.reject(error);
  }

  /** An idle decoder process does not keep the program running. */
  private unref(): void {
    this.child.unref();
    for (const stream of [this.channel, this.child.stderr]) (stream as { unref?(): void } | null)?.unref?.();
  }

  private ref(): void {
    this.child.ref();
    (this.channel as { ref?(): void }).ref?.();
  }
}

/** The entry is JavaScript once built; in a checkout a small entry registers tsx first, as for worker threads. */
function entry(): string {
  const name = import.meta.url.endsWith('.ts') ? 'dicom-decoder.checkout.mjs' : 'dicom-decoder.js';
  return fileURLToPath(new URL(`../../../workers/${name}`, import.meta.url));
}

function startFailure(why: string): string {
  return `the DICOM decoder process does not start: ${why}`;
}

function tooSlow(deadlineMs: number): SaladError {
  return new SaladError(
    'DECODING_LIMIT_EXCEEDED',
    `decoding took longer than ${(deadlineMs / 1000).toFixed(1)} s, which an image of its size may take`,
  );
}

function exitError(code: number | null, signal: NodeJS.Signals | null): SaladError {
  if (signal === MEMORY_SIGNAL) {
    return new SaladError(
      'DECODING_LIMIT_EXCEEDED',
      'decoding took more memory than an image of its size may take',
    );
  }
  const how = signal ?? `exit code ${code}`;
  // Sent by another process: `kill` settles the request before it sends a signal.
  if (signal === 'SIGKILL' || signal === 'SIGTERM') {
    return new SaladError('DECODER_UNAVAILABLE', `the DICOM decoder process was ended from outside (${how})`);
  }
  return new SaladError('IMAGE_UNREADABLE', `the DICOM file cannot be read: its decoder crashed (${how})`);
}
