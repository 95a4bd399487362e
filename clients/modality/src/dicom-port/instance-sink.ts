/** Where the data set of a C-STORE goes: into the inbox, with the status that the peer gets at the end. */
import { Writable } from 'node:stream';
import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import type { Incoming, IncomingOptions } from '../inbox/incoming.js';
import { checkBuffers } from '../memory/collector.js';
import { STATUS } from './dimse.js';

/** More than this in memory, and the socket is paused. */
const BUFFERED_BYTES_MAX = 1024 * 1024;

export interface StoreOutcome {
  readonly status: number;
  /** Number of the instance in the inbox; undefined where it was refused. */
  readonly id: number | undefined;
  readonly outcome: 'stored' | 'duplicate' | 'refused';
  /** From the begin of the transfer until the instance was durable; undefined where it was refused. */
  readonly durationMs: number | undefined;
  /** Why it was refused. */
  readonly error: SaladError | undefined;
}

const REFUSED = { id: undefined, outcome: 'refused', durationMs: undefined } as const;

export interface SinkOptions {
  readonly inbox: Inbox;
  readonly instance: IncomingOptions;
  /** Known before any data: the instance is refused with this status, its data set is read and dropped. */
  readonly refusal: number | undefined;
  /** Called when more or less than the bound is buffered. */
  readonly onFull: (isFull: boolean) => void;
}

/**
 * `write` always returns true: dcmjs-dimse waits for `drain` in a way that lets later PDUs overtake. The socket is paused
 * by `onFull` instead.
 */
export class InstanceSink extends Writable {
  private incoming: Incoming | undefined;
  private failure: SaladError | undefined;

  constructor(private readonly options: SinkOptions) {
    super({ highWaterMark: Number.MAX_SAFE_INTEGER, decodeStrings: false, autoDestroy: false });
  }

  override _construct(callback: (error?: Error | null) => void): void {
    void this.attempt(async () => {
      if (this.options.refusal === undefined)
        this.incoming = await this.options.inbox.begin(this.options.instance);
    }).then(() => callback());
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    if (this.writableLength > BUFFERED_BYTES_MAX) this.options.onFull(true);
    checkBuffers();
    void this.attempt(async () => this.incoming?.write(...chunks.map(({ chunk }) => chunk))).then(() => {
      callback();
      this.options.onFull(this.writableLength > BUFFERED_BYTES_MAX);
    });
  }

  override write(chunk: Buffer): boolean {
    super.write(chunk);
    if (this.writableLength > BUFFERED_BYTES_MAX) this.options.onFull(true);
    return true;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    void (this.incoming?.discard() ?? Promise.resolve()).then(
      () => callback(error),
      () => callback(error),
    );
    this.incoming = undefined;
  }

  /** Call after `end`: makes the instance durable. Never rejects. */
  async outcome(): Promise<StoreOutcome> {
    await new Promise<void>((resolve) => this.once('finish', resolve));
    const { refusal } = this.options;
    if (refusal !== undefined) return { status: refusal, ...REFUSED, error: undefined };
    const { incoming } = this;
    this.incoming = undefined;
    let kept: Awaited<ReturnType<Incoming['keep']>> | undefined;
    await this.attempt(async () => {
      kept = await incoming?.keep();
    });
    if (kept !== undefined) return { status: STATUS.success, ...kept, error: undefined };
    const error = this.failure ?? new SaladError('INTERNAL', 'the instance was not kept');
    return { status: statusOf(error), ...REFUSED, error };
  }

  /** After a failure the rest of the data set is read and dropped, so that the peer gets its answer. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    if (this.failure !== undefined) return;
    try {
      await work();
    } catch (error) {
      this.failure = SaladError.from(error);
    }
  }
}

function statusOf({ reason }: SaladError): number {
  if (reason === 'INSTANCE_CONFLICT') return STATUS.duplicateSopInstance;
  if (reason === 'STORAGE_FULL' || reason === 'MESSAGE_TOO_LARGE') return STATUS.outOfResources;
  return STATUS.processingFailure;
}
