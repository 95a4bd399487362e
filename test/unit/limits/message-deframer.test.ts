import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { MessageDeframer } from '../../../src/limits/message-deframer.js';
import { frame } from '../../support/protocol/raw-grpc.js';

/** All messages of these bytes, pushed in buffers of these lengths, in turn. */
function messagesOf(bytes: Buffer, bufferLengths: readonly number[]): Buffer[] {
  const deframer = new MessageDeframer();
  const messages: Buffer[] = [];
  let isAccepted = false;
  for (let at = 0, index = 0; at < bytes.byteLength; index++) {
    const length = bufferLengths[index % bufferLengths.length]!;
    deframer.push(bytes.subarray(at, at + length));
    at += length;
    for (;;) {
      if (deframer.nextPrefix === undefined) break;
      if (!isAccepted) deframer.accept();
      isAccepted = true;
      if (!deframer.isComplete) break;
      messages.push(deframer.takeMessage());
      isAccepted = false;
    }
  }
  return messages;
}

describe('MessageDeframer', () => {
  it('returns long and short messages as sent, for any division of their bytes into buffers', () => {
    const length = fc.oneof(fc.nat(40), fc.integer({ min: 60_000, max: 200_000 }));
    const bufferLengths = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(length, { maxLength: 6 }), bufferLengths, (lengths, received) => {
        const sent = lengths.map((count, index) => Buffer.alloc(count, index + 1));
        const got = messagesOf(Buffer.concat(sent.map((message) => frame(message))), received);
        assert.equal(got.length, sent.length);
        for (const [index, message] of got.entries()) assert.ok(message.equals(sent[index]!));
      }),
      { seed: 2, numRuns: 200 },
    );
  });

  it('reads length and compression from the first five bytes, before any byte of the message', () => {
    const deframer = new MessageDeframer();
    deframer.push(Buffer.from([1, 0, 0]));
    assert.equal(deframer.nextPrefix, undefined);
    deframer.push(Buffer.from([1, 2]));
    assert.deepEqual(deframer.nextPrefix, { isCompressed: true, length: 258 });
    assert.equal(deframer.isComplete, false);
  });
});
