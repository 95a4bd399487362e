import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { Framing } from '../../../src/limits/framing.js';
import { frame } from '../../support/raw-grpc.js';

/** All messages that come out, however the bytes are cut. */
function messagesOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const framing = new Framing();
  const messages: Buffer[] = [];
  let accepted = false;
  for (let at = 0, index = 0; at < bytes.byteLength; index++) {
    const length = cuts[index % cuts.length]!;
    framing.push(bytes.subarray(at, at + length));
    at += length;
    for (;;) {
      const { next } = framing;
      if (next === undefined) break;
      if (!accepted) framing.accept();
      accepted = true;
      if (!framing.isComplete) break;
      messages.push(framing.take());
      accepted = false;
    }
  }
  return messages;
}

describe('Framing', () => {
  it('gives the messages that were sent, long and short, however their bytes are cut', () => {
    const length = fc.oneof(fc.nat(40), fc.integer({ min: 60_000, max: 200_000 }));
    const cuts = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(length, { maxLength: 6 }), cuts, (lengths, pieces) => {
        const sent = lengths.map((count, index) => Buffer.alloc(count, index + 1));
        const got = messagesOf(Buffer.concat(sent.map((message) => frame(message))), pieces);
        assert.equal(got.length, sent.length);
        for (const [index, message] of got.entries()) assert.ok(message.equals(sent[index]!));
      }),
      { seed: 2, numRuns: 200 },
    );
  });

  it('knows length and compression from the first five bytes, before any of the message', () => {
    const framing = new Framing();
    framing.push(Buffer.from([1, 0, 0]));
    assert.equal(framing.next, undefined);
    framing.push(Buffer.from([1, 2]));
    assert.deepEqual(framing.next, { isCompressed: true, length: 258 });
    assert.equal(framing.isComplete, false);
  });
});
