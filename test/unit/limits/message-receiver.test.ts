import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Metadata, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { messageProcessed, messageReceiverInterceptor } from '../../../src/limits/message-receiver.js';
import { ReceiveBudget } from '../../../src/limits/receive-budget.js';
import { TurnScheduler } from '../../../src/limits/turn-scheduler.js';
import { frame } from '../../support/protocol/raw-grpc.js';

interface Message {
  readonly bytes: Buffer;
}

/** The members of grpc-js's server call that a message receiver uses or replaces. */
class ServerCallDouble {
  readonly stream = Object.assign(new EventEmitter(), {
    session: { socket: { remoteAddress: '192.0.2.1' } },
    isPaused: true,
    pause() {
      this.isPaused = true;
    },
    resume() {
      this.isPaused = false;
    },
  });
  readonly handler = { deserialize: (bytes: Buffer): Message => ({ bytes }) };
  readonly metadata = new Metadata();
  readonly incomingEncoding = 'gzip';
  readonly messages: Message[] = [];
  hasEnded = false;
  status: number | undefined;
  readonly listener = {
    onReceiveMessage: (message: object) => this.messages.push(message as Message),
    onReceiveHalfClose: () => {
      this.hasEnded = true;
    },
  };
  isClosed = false;
  checkCancelled() {
    return this.isClosed || this.status !== undefined;
  }
  sendStatus({ code }: { code: number }) {
    this.status = code;
  }
  handleDataFrame(_data: Buffer) {}
  handleEndEvent() {}
  startRead() {}
  close() {
    this.isClosed = true;
    this.stream.emit('close');
  }
}

function setUp(totalBytes = 10_000, maxPendingBytes = 3000) {
  const budget = new ReceiveBudget(totalBytes, 1);
  const interceptor = messageReceiverInterceptor({
    peerOf: () => undefined,
    limitsOf: () => ({
      firstMessageBytes: 5000,
      laterMessageBytes: 8000,
      acceptsCompression: true,
      isKeptUntilProcessed: true,
    }),
    budget,
    scheduler: new TurnScheduler(),
    maxPendingBytes,
    retryDelayMs: 1,
  });
  const open = () => {
    const call = new ServerCallDouble();
    interceptor({ path: '/a/b' } as never, call as never);
    return call;
  };
  return { budget, open };
}

const settled = async () => {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
};

describe('messageReceiverInterceptor', () => {
  it('delivers one message for each request of the handler, reads no further, and ends after the last', async () => {
    const { open, budget } = setUp();
    const call = open();
    call.startRead();
    assert.equal(call.stream.isPaused, false);
    call.handleDataFrame(
      Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two')), Buffer.from([0])]),
    );
    call.handleEndEvent();
    await settled();
    assert.deepEqual(
      call.messages.map(({ bytes }) => bytes.toString()),
      ['one'],
    );
    assert.equal(call.stream.isPaused, true);
    call.startRead();
    await settled();
    assert.equal(call.messages.length, 2);
    assert.equal(call.hasEnded, false);
    call.startRead();
    await settled();
    assert.equal(call.hasEnded, true);
    for (const message of call.messages) messageProcessed(message);
    assert.equal(budget.reservedBytes, 0);
  });

  it('delivers no more while the unprocessed messages of the handler exceed its limit', async () => {
    const { open } = setUp(100_000);
    const call = open();
    for (let index = 0; index < 5; index++) {
      call.startRead();
      call.handleDataFrame(frame(Buffer.alloc(2000)));
      await settled();
    }
    assert.equal(call.messages.length, 2);
    messageProcessed(call.messages[0]!);
    await settled();
    assert.equal(call.messages.length, 3);
  });

  it('refuses a message by its announced length, with separate limits for the first and later messages', async () => {
    const { open, budget } = setUp();
    const first = open();
    first.startRead();
    first.handleDataFrame(frame(Buffer.alloc(0), 5001));
    assert.equal(first.status, status.RESOURCE_EXHAUSTED);
    const later = open();
    later.startRead();
    later.handleDataFrame(Buffer.concat([frame(Buffer.alloc(1)), frame(Buffer.alloc(0), 5001)]));
    await settled();
    messageProcessed(later.messages[0]!);
    later.startRead();
    await settled();
    assert.equal(later.status, undefined);
    later.close();
    first.close();
    assert.equal(budget.reservedBytes, 0);
  });

  it('reserves memory while a message is decompressed; the next message of the peer waits for its memory', async () => {
    const { open, budget } = setUp(6000);
    const call = open();
    call.startRead();
    call.handleDataFrame(frame(gzipSync(Buffer.alloc(4000)), undefined, true));
    while (call.messages.length === 0) await nextTurn();
    assert.equal(call.messages[0]?.bytes.byteLength, 4000);
    assert.ok(budget.reservedBytes > 4000);
    const other = open();
    other.startRead();
    other.handleDataFrame(frame(gzipSync(Buffer.alloc(100)), undefined, true));
    await settled();
    // Its peer has used its share, so it waits.
    assert.deepEqual([other.messages.length, other.status], [0, undefined]);
    call.close();
    while (other.messages.length === 0) await nextTurn();
    other.close();
    assert.equal(budget.reservedBytes, 0);
  });

  it('releases all memory, however calls end', async () => {
    const step = fc.record({
      call: fc.nat(3),
      kind: fc.constantFrom('data', 'data', 'request', 'request', 'process', 'close', 'turn', 'end'),
      bytes: fc.nat(6000),
      isCompressed: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { open, budget } = setUp(9000);
        const calls = Array.from({ length: 4 }, open);
        for (const { call: index, kind, bytes, isCompressed } of steps) {
          const call = calls[index]!;
          if (call.isClosed) continue;
          const message = Buffer.alloc(bytes, index);
          if (kind === 'data') {
            call.handleDataFrame(isCompressed ? frame(gzipSync(message), undefined, true) : frame(message));
          }
          if (kind === 'request') call.startRead();
          if (kind === 'process') for (const done of call.messages) messageProcessed(done);
          if (kind === 'close') call.close();
          if (kind === 'end') call.handleEndEvent();
          if (kind === 'turn') await nextTurn();
          // The budget has 256 bytes more, for the overhead of a message.
          assert.ok(budget.reservedBytes <= 9256);
        }
        for (const call of calls) if (!call.isClosed) call.close();
        // A message that is being decompressed releases its memory when that ends.
        const deadline = performance.now() + 5000;
        while (budget.reservedBytes > 0 && performance.now() < deadline) await nextTurn();
        assert.equal(budget.reservedBytes, 0);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});
