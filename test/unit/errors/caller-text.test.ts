import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import { boundedMessage, callerText, SaladError } from '../../../src/errors/index.js';
import { logBounds } from '../../../src/telemetry/logger.js';
import { toServiceError } from '../../../src/wire/status.js';

describe('callerText', () => {
  it('does not change short texts, and cuts long ones between characters', () => {
    assert.equal(callerText('chest-pediatric'), 'chest-pediatric');
    assert.equal(callerText('x'.repeat(64)), 'x'.repeat(64));
    assert.equal(callerText('x'.repeat(10_000)), `${'x'.repeat(64)}… (10000 characters)`);
    assert.equal(callerText('🫁'.repeat(64)), '🫁'.repeat(64));
    assert.equal(callerText('🫁'.repeat(65), 2), '🫁🫁… (130 characters)');
  });

  it('shows no line breaks and nothing invisible', () => {
    assert.equal(callerText('a\nb\u0000c\u202Ed\u2028e'), 'a\u{FFFD}b\u{FFFD}c\u{FFFD}d\u{FFFD}e');
  });
});

describe('texts of a caller', () => {
  const long = new SaladError('HEADER_INVALID', `é${'…'.repeat(100_000)}`, {
    fieldViolations: Array.from({ length: 50 }, () => ({
      field: 'f'.repeat(9000),
      description: 'd'.repeat(9000),
    })),
  });

  it('makes trailers of less than 8 KiB', () => {
    const { details, metadata } = toServiceError(long, 100);
    const headers = Object.values(metadata.toHttp2Headers()).join('');
    const bytes = encodeURI(details).length + headers.length;
    assert.ok(bytes < 7 * 1024, `${bytes} bytes`);
  });

  it('makes short lines in the log', () => {
    const lines: string[] = [];
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    });
    const logger = pino({ ...logBounds, level: 'debug' }, sink);
    logger.error({ err: long }, 'call failed');
    logger.debug({ reason: 'X', path: 'p'.repeat(100_000) }, long.message);
    for (const line of lines) assert.ok(line.length < 12_000, `${line.length} characters`);
    assert.equal(JSON.parse(lines[0]!).err.reason, 'HEADER_INVALID');
  });

  it('keeps messages of ordinary length whole, and cuts at characters', () => {
    assert.equal(boundedMessage('a\nb'), 'a\nb');
    assert.equal(boundedMessage('éé', 4), 'éé');
    assert.equal(boundedMessage('ééé', 4), 'éé… (3 characters)');
    assert.equal(boundedMessage('ééé', 5), 'éé… (3 characters)');
  });
});
