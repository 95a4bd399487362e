import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { ClientHttp2Stream } from 'node:http2';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { SaladClient } from '../../../clients/typescript/src/index.js';
import { AcquisitionHeader } from '../../../src/gen/salad/v1/types.js';
import { encode, frame, openRaw } from '../../support/protocol/raw-grpc.js';
import { smallHeader, smallImage, smallRows } from '../../support/servers/small-server.js';
import { useSmallServer } from '../../support/servers/small-server-hooks.js';

describe("the port's thread", function () {
  this.timeout(60_000);
  const small = useSmallServer();

  it('is occupied for less than 50 ms at a time by any messages of a peer', async () => {
    await small.start({ peerShareRatio: 0 });
    const session = await small.raw({ localAddress: '127.0.0.2' });
    // Rows of one sample each: thousands of messages in one network read.
    const image = { rows: 60_000, columns: 1, bitsAllocated: 8 };
    const header = AcquisitionHeader.fromPartial({ ...smallHeader('short-rows'), image });
    const row = (firstRow: number) =>
      frame(encode({ $case: 'rows', value: { firstRow, samples: new Uint8Array(1) } }));
    const messages = Buffer.concat([
      frame(encode({ $case: 'header', value: header })),
      ...Array.from({ length: 4000 }, (_, index) => row(index)),
    ]);
    const open = (count: number) => Array.from({ length: count }, () => openRaw(session));
    // Its code is compiled while the first streams are read.
    await longestTurn(open(4), messages);
    const longestMs = await longestTurn(open(16), messages);
    const client = new SaladClient(small.server.address, { retry: false });
    const result = await client.scoreAcquisition(smallHeader('good'), smallRows(smallImage(2)), {
      timeoutMs: 20_000,
    });
    client.close();
    assert.equal(result.coverage?.scored, 64);
    assert.ok(longestMs < 50, `a turn took ${longestMs.toFixed(1)} ms of the thread`);
  });
});

/** Sends `message` on each stream. @returns the longest time that this thread, the server's too, worked in one turn, in ms */
async function longestTurn(streams: readonly ClientHttp2Stream[], message: Buffer): Promise<number> {
  let sent = 0;
  for (const stream of streams) {
    stream.on('error', () => {});
    stream.resume();
    stream.write(message, () => {
      sent += 1;
    });
  }
  let longestMs = 0;
  let turns = 0;
  for (let cpu = threadCpuMs(); sent < streams.length || turns < 200; turns++) {
    await nextTurn();
    const now = threadCpuMs();
    longestMs = Math.max(longestMs, now - cpu);
    cpu = now;
  }
  return longestMs;
}

/** Processor time of this thread, in ms, which excludes the time of other processes. */
function threadCpuMs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e6;
}
