import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Metadata, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { intakeInterceptor, messageTaken } from '../../../src/limits/intake.js';
import { ReceivedBytes } from '../../../src/limits/received-bytes.js';
import { Turns } from '../../../src/limits/turns.js';
import { frame } from '../../support/raw-grpc.js';

interface Message {
  readonly bytes: Buffer;
}

/** The part of grpc-js's server call that an intake takes over. */
class StubCall {
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
  ended = false;
  status: number | undefined;
  readonly listener = {
    onReceiveMessage: (message: object) => this.messages.push(message as Message),
    onReceiveHalfClose: () => {
      this.ended = true;
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
  const received = new ReceivedBytes(totalBytes, 1);
  const interceptor = intakeInterceptor({
    peerOf: () => undefined,
    limitsOf: () => ({ firstBytes: 5000, laterBytes: 8000, compression: true, isKept: true }),
    received,
    turns: new Turns(),
    maxPendingBytes,
    retryDelayMs: 1,
  });
  const open = () => {
    const call = new StubCall();
    interceptor({ path: '/a/b' } as never, call as never);
    return call;
  };
  return { received, open };
}

const settled = async () => {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
};

describe('the intake of request messages', () => {
  it('gives a message for each that is wanted, reads no further, and ends after the last', async () => {
    const { open, received } = setUp();
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
    assert.equal(call.ended, false);
    call.startRead();
    await settled();
    assert.equal(call.ended, true);
    for (const message of call.messages) messageTaken(message);
    assert.equal(received.taken, 0);
  });

  it('gives no more than the handler has room for', async () => {
    const { open } = setUp(100_000);
    const call = open();
    for (let index = 0; index < 5; index++) {
      call.startRead();
      call.handleDataFrame(frame(Buffer.alloc(2000)));
      await settled();
    }
    assert.equal(call.messages.length, 2);
    messageTaken(call.messages[0]!);
    await settled();
    assert.equal(call.messages.length, 3);
  });

  it('refuses a message by its announcement, the first by another limit than the later ones', async () => {
    const { open, received } = setUp();
    const first = open();
    first.startRead();
    first.handleDataFrame(frame(Buffer.alloc(0), 5001));
    assert.equal(first.status, status.RESOURCE_EXHAUSTED);
    const later = open();
    later.startRead();
    later.handleDataFrame(Buffer.concat([frame(Buffer.alloc(1)), frame(Buffer.alloc(0), 5001)]));
    await settled();
    messageTaken(later.messages[0]!);
    later.startRead();
    await settled();
    assert.equal(later.status, undefined);
    later.close();
    first.close();
    assert.equal(received.taken, 0);
  });

  it('counts a compressed message as it unfolds, and refuses it where there is no room', async () => {
    const { open, received } = setUp(6000);
    const call = open();
    call.startRead();
    call.handleDataFrame(frame(gzipSync(Buffer.alloc(4000)), undefined, true));
    while (call.messages.length === 0) await nextTurn();
    assert.equal(call.messages[0]?.bytes.byteLength, 4000);
    assert.ok(received.taken > 4000);
    const other = open();
    other.startRead();
    other.handleDataFrame(frame(gzipSync(Buffer.alloc(100)), undefined, true));
    await settled();
    // Its peer holds its share: it waits.
    assert.deepEqual([other.messages.length, other.status], [0, undefined]);
    call.close();
    while (other.messages.length === 0) await nextTurn();
    other.close();
    assert.equal(received.taken, 0);
  });

  it('gives all room back, however calls end', async () => {
    const step = fc.record({
      call: fc.nat(3),
      kind: fc.constantFrom('data', 'data', 'want', 'want', 'taken', 'close', 'turn', 'end'),
      bytes: fc.nat(6000),
      zipped: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { open, received } = setUp(9000);
        const calls = Array.from({ length: 4 }, open);
        for (const { call: index, kind, bytes, zipped } of steps) {
          const call = calls[index]!;
          if (call.isClosed) continue;
          const message = Buffer.alloc(bytes, index);
          if (kind === 'data')
            call.handleDataFrame(zipped ? frame(gzipSync(message), undefined, true) : frame(message));
          if (kind === 'want') call.startRead();
          if (kind === 'taken') for (const done of call.messages) messageTaken(done);
          if (kind === 'close') call.close();
          if (kind === 'end') call.handleEndEvent();
          if (kind === 'turn') await nextTurn();
          assert.ok(received.taken <= 9000);
        }
        for (const call of calls) if (!call.isClosed) call.close();
        const until = performance.now() + 5000;
        while (received.taken > 0 && performance.now() < until) await nextTurn();
        assert.equal(received.taken, 0);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});
