/** A DICOM peer that sends single PDUs over TCP (PS3.8), also wrong ones. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export const DX_CLASS = '1.2.840.10008.5.1.4.1.1.1.1';
export const VERIFICATION_CLASS = '1.2.840.10008.1.1';
export const PDU = { associateAc: 2, associateRj: 3, data: 4, release: 5, releaseRp: 6, abort: 7 } as const;
const EXPLICIT = '1.2.840.10008.1.2.1';

export interface Pdu {
  readonly type: number;
  readonly body: Buffer;
}

export interface AssociateOptions {
  readonly calling?: string;
  readonly called?: string;
  readonly classes?: readonly string[];
  /** Largest PDU that this peer receives; 0: any. @default 16384 */
  readonly pduBytesMax?: number;
  /** Asynchronous operations to propose. */
  readonly asyncOperations?: number;
}

function item(type: number, value: Uint8Array): Buffer {
  const head = Buffer.from([type, 0, 0, 0]);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value]);
}

const text = (value: string) => Buffer.from(value, 'latin1');
const number32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** An element of a command set, implicit little endian. */
function commandElement(element: number, value: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16LE(element, 2);
  head.writeUInt32LE(value.length, 4);
  return Buffer.concat([head, value]);
}

const number16 = (value: number) => Buffer.from(Uint16Array.of(value).buffer);
const uid = (value: string) => text(value.length % 2 === 0 ? value : `${value}\0`);

export interface Command {
  readonly field: number;
  readonly sopClass: string;
  readonly sopInstance?: string;
  readonly hasDataSet?: boolean;
  readonly priority?: number;
}

export function commandSet({ field, sopClass, sopInstance, hasDataSet, priority }: Command): Buffer {
  const body = Buffer.concat([
    commandElement(0x0002, uid(sopClass)),
    commandElement(0x0100, number16(field)),
    commandElement(0x0110, number16(1)),
    commandElement(0x0700, number16(priority ?? 0)),
    commandElement(0x0800, number16(hasDataSet ? 0x0102 : 0x0101)),
    ...(sopInstance === undefined ? [] : [commandElement(0x1000, uid(sopInstance))]),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([commandElement(0x0000, length), body]);
}

/** A presentation data value. */
export function fragment(
  context: number,
  bytes: Uint8Array,
  kind: 'command' | 'data',
  isLast = true,
): Buffer {
  const control = (kind === 'command' ? 1 : 0) + (isLast ? 2 : 0);
  return Buffer.concat([number32(bytes.length + 2), Buffer.from([context, control]), bytes]);
}

export class RawDicom {
  private buffer = Buffer.alloc(0);
  private readonly received: Pdu[] = [];
  private readonly waiting: ((pdu: Pdu | undefined) => void)[] = [];
  private isClosed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isClosed = true;
      for (const resolve of this.waiting.splice(0)) resolve(undefined);
    });
  }

  static async connect(port: number): Promise<RawDicom> {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    return new RawDicom(socket);
  }

  send(type: number, body: Uint8Array): void {
    this.socket.write(Buffer.concat([Buffer.from([type, 0]), number32(body.length), body]));
  }

  /** The next PDU; undefined once the connection is closed. */
  next(): Promise<Pdu | undefined> {
    const pdu = this.received.shift();
    if (pdu !== undefined || this.isClosed) return Promise.resolve(pdu);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** Contexts 1, 3, … for the classes. @returns the answer */
  associate(options: AssociateOptions = {}): Promise<Pdu | undefined> {
    const { calling = 'DX1', called = 'SALAD', classes = [DX_CLASS, VERIFICATION_CLASS] } = options;
    const { pduBytesMax = 16_384, asyncOperations } = options;
    const contexts = classes.map((abstract, index) =>
      item(
        0x20,
        Buffer.concat([
          Buffer.from([2 * index + 1, 0, 0, 0]),
          item(0x30, text(abstract)),
          item(0x40, text(EXPLICIT)),
        ]),
      ),
    );
    const user = Buffer.concat([
      item(0x51, number32(pduBytesMax)),
      item(0x52, text('1.2.3')),
      ...(asyncOperations === undefined
        ? []
        : [item(0x53, Buffer.from([0, asyncOperations, 0, asyncOperations]))]),
    ]);
    const head = [
      Buffer.from([0, 1, 0, 0]),
      text(called.padEnd(16)),
      text(calling.padEnd(16)),
      Buffer.alloc(32),
    ];
    this.send(
      1,
      Buffer.concat([...head, item(0x10, text('1.2.840.10008.3.1.1.1')), ...contexts, item(0x50, user)]),
    );
    return this.next();
  }

  sendFragments(...fragments: readonly Buffer[]): void {
    this.send(PDU.data, Buffer.concat(fragments));
  }

  storeCommand(sopInstance: string, priority = 0): void {
    const command = commandSet({ field: 1, sopClass: DX_CLASS, sopInstance, hasDataSet: true, priority });
    this.sendFragments(fragment(1, command, 'command'));
  }

  /** @returns the status of the response; undefined where another PDU or none came */
  async store(sopInstance: string, dataSet: Uint8Array, priority?: number): Promise<number | undefined> {
    this.storeCommand(sopInstance, priority);
    for (let at = 0; at < dataSet.length; at += 16_000) {
      const end = Math.min(dataSet.length, at + 16_000);
      this.sendFragments(fragment(1, dataSet.subarray(at, end), 'data', end === dataSet.length));
    }
    return statusOf(await this.next());
  }

  async echo(): Promise<number | undefined> {
    const command = commandSet({ field: 0x30, sopClass: VERIFICATION_CLASS });
    this.sendFragments(fragment(3, command, 'command'));
    return statusOf(await this.next());
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    this.buffer = Buffer.concat([this.buffer, chunk]);
    while (this.buffer.length >= 6) {
      const end = 6 + this.buffer.readUInt32BE(2);
      if (this.buffer.length < end) return;
      const pdu = { type: this.buffer[0]!, body: this.buffer.subarray(6, end) };
      this.buffer = this.buffer.subarray(end);
      const resolve = this.waiting.shift();
      if (resolve === undefined) this.received.push(pdu);
      else resolve(pdu);
    }
  }
}

/** Status (0000,0900) of a response. */
export function statusOf(pdu: Pdu | undefined): number | undefined {
  if (pdu?.type !== PDU.data) return undefined;
  const at = pdu.body.indexOf(Buffer.from('0000000902000000', 'hex'));
  return at < 0 ? undefined : pdu.body.readUInt16LE(at + 8);
}

/** The largest PDU that the other side receives, in its answer to the association. */
export function pduBytesMaxOf({ body }: Pdu): number {
  const at = body.indexOf(Buffer.from('51000004', 'hex'));
  return body.readUInt32BE(at + 4);
}
