import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import { decodeImage } from '../../../../src/imaging/decode/decode.js';
import { Places } from '../../../../src/util/places.js';
import { GREY, png } from '../../../support/images/png.js';

describe('decodeImage with few places', () => {
  const file = png({ rows: 4, columns: 4, bits: 8, colourType: GREY, values: new Array(16).fill(7) });

  it('neither reserves nor decodes anything for a call that was cancelled while it waited', async () => {
    const places = new Places(1);
    const leave = await places.enter();
    const controller = new AbortController();
    const reserved: number[] = [];
    const limits = { maxPixels: 100, places, reserve: (bytes: number) => reserved.push(bytes) };
    const cancelled = decodeImage(file, { ...limits, signal: controller.signal });
    const patient = decodeImage(file, limits);
    while (places.waiting < 2) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new SaladError('CANCELLED', 'the client cancelled'));
    await assert.rejects(cancelled, { reason: 'CANCELLED' });
    assert.deepEqual(reserved, []);
    leave();
    assert.equal((await patient).samples.length, 16);
    assert.equal(reserved.length, 1);
  });

  it('releases its place where the file is damaged and where there is no memory', async () => {
    const places = new Places(1);
    await assert.rejects(decodeImage(file.subarray(0, -5), { maxPixels: 100, places }), {
      reason: 'IMAGE_UNREADABLE',
    });
    const reserve = () => {
      throw new SaladError('OVERLOADED', 'no memory');
    };
    await assert.rejects(decodeImage(file, { maxPixels: 100, places, reserve }), { reason: 'OVERLOADED' });
    assert.equal((await decodeImage(file, { maxPixels: 100, places })).rows, 4);
  });
});
