import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'mocha';
import { root } from '../../support/root.js';

/** Ends with an uncaught error. */
const PROGRAM = `
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { logForeign } from './src/server/foreign-logs.ts';
import { createLogger } from './src/telemetry/logger.ts';

logForeign(createLogger({ logLevel: 'info' }));
process.emitWarning('a warning');
const bound = new Promise((resolve) => {
  new Server().bindAsync('192.0.2.1:1', ServerCredentials.createInsecure(), resolve);
});
await bound;
setTimeout(() => { throw new Error('an uncaught error'); }, 10);
`;

describe('logForeign', () => {
  it('writes the messages of Node and grpc-js to the log', async () => {
    const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      const args = ['--import', 'tsx', '--input-type=module', '--eval', PROGRAM];
      execFile(process.execPath, args, { cwd: root }, (error, _stdout, text) =>
        resolve({ code: error?.code, stderr: text }),
      );
    });
    assert.equal(code, 1);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: number; msg: string; err?: { message: string } });
    // The last line is written at once, at the end of the process; a line before it may still be on its way.
    assert.deepEqual(
      new Set(lines.map(({ level, msg, err }) => `${level} ${err?.message ?? msg.replace(/ out of.*/, '')}`)),
      new Set(['40 a warning', '40 No address added', '60 an uncaught error']),
    );
  });
});
