import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'mocha';
import { readRequests } from '../../../src/wire/request-reader.js';
import { ResponseWriter } from '../../../src/wire/response-writer.js';
import { SimulatedClock } from '../../support/simulated-clock.js';

function requestCall() {
  return new PassThrough({ objectMode: true });
}

const turns = async (count = 5) => {
  for (let i = 0; i < count; i++) await new Promise((turn) => setImmediate(turn));
};

describe('readRequests', () => {
  const options = (signal: AbortSignal, changes = {}) => ({
    sizeOf: (message: string) => message.length,
    maxPendingBytes: 10,
    idleTimeoutMs: 5000,
    signal,
    ...changes,
  });

  it('yields every message in order and ends with the call', async () => {
    const call = requestCall();
    const requests = readRequests<string>(call as never, options(new AbortController().signal));
    for (const message of ['a', 'b', 'c']) call.write(message);
    call.end();
    const received: string[] = [];
    for await (const message of requests) received.push(message);
    assert.deepEqual(received, ['a', 'b', 'c']);
  });

  it('pauses the call above its byte limit and resumes it when messages are read', async () => {
    const call = requestCall();
    const requests = readRequests<string>(call as never, options(new AbortController().signal));
    const first = requests.next();
    call.write('x'.repeat(6));
    assert.equal((await first).value?.length, 6);
    for (let i = 0; i < 5; i++) call.write('y'.repeat(6));
    await turns();
    assert.ok(call.isPaused());
    const received: string[] = [];
    call.end();
    for await (const message of requests) received.push(message);
    assert.equal(received.length, 5);
  });

  it('fails for a silent client and ends on abort', async () => {
    const clock = new SimulatedClock(0);
    const silent = readRequests<string>(
      requestCall() as never,
      options(new AbortController().signal, { startTimer: clock.startTimer }),
    ).next();
    clock.next();
    assert.equal(clock.now, 5000);
    clock.next();
    await assert.rejects(silent, { reason: 'IDLE_TIMEOUT' });
    const controller = new AbortController();
    const aborted = readRequests<string>(requestCall() as never, options(controller.signal)).next();
    controller.abort();
    assert.equal((await aborted).done, true);
  });
});

describe('a reader whose client waits for an answer', () => {
  it('is not taken for silent', async () => {
    let isBusy = true;
    const clock = new SimulatedClock(0);
    const requests = readRequests<string>(requestCall() as never, {
      sizeOf: () => 1,
      ...{ maxPendingBytes: 10, idleTimeoutMs: 10, signal: new AbortController().signal },
      isBusy: () => isBusy,
      startTimer: clock.startTimer,
    });
    let failed = false;
    const next = requests.next().catch(() => {
      failed = true;
    });
    clock.advance(1000);
    await turns();
    assert.equal(failed, false);
    isBusy = false;
    clock.advance(20);
    await next;
    assert.equal(failed, true);
  });
});

describe('ResponseWriter', () => {
  function manualCall() {
    /** Each reports that a message was sent, in the order of `write`. */
    const markSent: (() => void)[] = [];
    const call = {
      write(_message: number, callback: () => void) {
        markSent.push(callback);
        return true;
      },
    };
    return { call, markSent };
  }

  it('settles the last message only when every message was sent', async () => {
    const { call, markSent } = manualCall();
    const writer = new ResponseWriter<number>(call, new AbortController().signal, 5000);
    await writer.write(1);
    let settled = false;
    const last = writer.write(2, true).then(() => {
      settled = true;
    });
    markSent[0]!();
    await turns();
    assert.equal(settled, false);
    markSent[1]!();
    await last;
    assert.equal(settled, true);
  });

  it('fails for a client that reads nothing, after the time since the last message that it read', async () => {
    const { call, markSent } = manualCall();
    const clock = new SimulatedClock(0);
    const writer = new ResponseWriter<number>(call, new AbortController().signal, 60, clock.startTimer);
    await writer.write(1);
    let failed = false;
    const last = writer.write(2, true);
    last.catch(() => {
      failed = true;
    });
    clock.advance(40);
    markSent[0]!();
    await turns();
    // The time begins again at 40, and is followed by as long a wait for what the kernel holds.
    clock.advance(119);
    await turns();
    assert.equal(failed, false);
    clock.advance(1);
    await assert.rejects(last, { reason: 'IDLE_TIMEOUT' });
  });

  it('waits after the second message until one was sent, and fails on abort', async () => {
    const markSent: (() => void)[] = [];
    const written: number[] = [];
    const call = {
      write(message: number, callback: () => void) {
        written.push(message);
        markSent.push(callback);
        return true;
      },
    };
    const controller = new AbortController();
    const writer = new ResponseWriter<number>(call, controller.signal, 5000);
    await writer.write(1);
    const second = writer.write(2);
    let settled = false;
    void second.then(() => {
      settled = true;
    });
    await turns();
    assert.equal(settled, false);
    markSent[0]!();
    await second;
    const third = writer.write(3);
    controller.abort();
    await assert.rejects(third, { reason: 'CANCELLED' });
    assert.deepEqual(written, [1, 2, 3]);
  });
});
