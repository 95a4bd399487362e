/** Messages between the first process and a server process, with requests that are answered. */
import type { ChildProcess, SendHandle } from 'node:child_process';
import type { EventEmitter } from 'node:events';
import { SaladError } from '../../errors/index.js';
import { type ErrorData, fromErrorData, toErrorData } from '../../errors/transfer.js';

/** The child process, or in a child its own process. */
export type Endpoint = ChildProcess | NodeJS.Process;

interface Request {
  readonly type: 'request';
  readonly id: number;
  readonly body: object;
}

interface Answer {
  readonly type: 'answer';
  readonly id: number;
  readonly value?: unknown;
  readonly error?: ErrorData;
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

export interface ChannelHandlers<Message, Body> {
  onMessage(message: Message, handle: SendHandle | undefined): void;
  /** What it returns is the answer; what it throws is thrown by the other side's `request`. */
  onRequest(body: Body): unknown;
}

/** @template Message what the other side sends @template Body what the other side requests */
export class Channel<Message extends object, Body extends object> {
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly handlers: ChannelHandlers<Message, Body>,
  ) {
    // Of both kinds of endpoint; TypeScript does not find a common signature.
    const events = endpoint as EventEmitter;
    events.on('message', (message: Message | Request | Answer, handle: SendHandle) =>
      this.receive(message, handle),
    );
    events.on('disconnect', () => this.close());
  }

  /** A message to a process that has ended is dropped. @param handle stays open in this process */
  send(message: object, handle?: SendHandle): void {
    if (!this.endpoint.connected) return;
    // The process may end at any time: an error is no more than a message that was not received.
    this.endpoint.send?.(message, handle, { keepOpen: true }, () => {});
  }

  /** @throws SaladError what the other side throws; DRAINING where its process has ended */
  request<Value>(body: object): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      if (!this.endpoint.connected) {
        reject(ended());
        return;
      }
      const id = ++this.lastId;
      this.pending.set(id, { resolve, reject });
      this.send({ type: 'request', id, body } satisfies Request);
    });
  }

  private receive(message: Message | Request | Answer, handle: SendHandle): void {
    if (isRequest(message)) void this.answer(message);
    else if (isAnswer(message)) this.settle(message);
    else this.handlers.onMessage(message, handle ?? undefined);
  }

  private async answer({ id, body }: Request): Promise<void> {
    try {
      const value = await this.handlers.onRequest(body as Body);
      this.send({ type: 'answer', id, value } satisfies Answer);
    } catch (error) {
      this.send({ type: 'answer', id, error: toErrorData(error) } satisfies Answer);
    }
  }

  private settle({ id, value, error }: Answer): void {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    if (error === undefined) pending?.resolve(value as never);
    else pending?.reject(fromErrorData(error));
  }

  private close(): void {
    for (const { reject } of this.pending.values()) reject(ended());
    this.pending.clear();
  }
}

function ended(): SaladError {
  return new SaladError('DRAINING', 'a process of the server has ended; try again');
}

function isRequest(message: object): message is Request {
  return 'type' in message && message.type === 'request';
}

function isAnswer(message: object): message is Answer {
  return 'type' in message && message.type === 'answer';
}
