/** Receives a DICOM file piece by piece: its head says which instance it is, the rest goes to the inbox. */
import { SaladError } from '../../../../src/errors/index.js';
import { parseFileHead } from './file-head.js';
import type { Inbox } from './inbox.js';
import type { Incoming, Kept } from './incoming.js';
import type { InstanceIdentity, Priority } from './instance.js';

/** The head is looked for in so many bytes. */
const HEAD_BYTES = 64 * 1024;

export class Part10Receiver {
  private head: Uint8Array[] = [];
  private headBytes = 0;
  private incoming: Incoming | undefined;
  private known: InstanceIdentity | undefined;

  constructor(
    private readonly inbox: Inbox,
    private readonly priority: Priority,
  ) {}

  /** Undefined until the head was read. */
  get identity(): InstanceIdentity | undefined {
    return this.known;
  }

  /** @throws SaladError IMAGE_UNREADABLE, STORAGE_FULL, MESSAGE_TOO_LARGE; the instance is discarded then */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.incoming !== undefined) return this.incoming.write(chunk);
    this.head.push(chunk);
    this.headBytes += chunk.byteLength;
    if (this.headBytes >= HEAD_BYTES) await this.begin();
  }

  /** Makes the instance durable. @throws as `write`, and INSTANCE_CONFLICT */
  async keep(): Promise<Kept> {
    if (this.incoming === undefined) await this.begin();
    const { incoming } = this;
    if (incoming === undefined) throw new SaladError('INTERNAL', 'the instance was not begun');
    return incoming.keep();
  }

  /** Idempotent. */
  async discard(): Promise<void> {
    await this.incoming?.discard();
  }

  private async begin(): Promise<void> {
    const bytes = Buffer.concat(this.head);
    this.head = [];
    const { sopClassUid, sopInstanceUid, syntaxUid, dataSetAt } = parseFileHead(bytes);
    this.known = { sopClassUid, sopInstanceUid, syntaxUid };
    this.incoming = await this.inbox.begin({ ...this.known, priority: this.priority });
    await this.incoming.write(bytes.subarray(dataSetAt));
  }
}
