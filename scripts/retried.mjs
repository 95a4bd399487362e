// Allows a second try for the tests of the files in test/slow/retried.json; every other test has one try. mocha loads
// this file with --require. The list maps a file of the slow suite to the reason why a failed first try is not a fault
// of the program.
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './root.mjs';

// The tests of this script use another list.
const list = process.env.SALAD_TEST_RETRIED ?? join(root, 'test/slow/retried.json');
const reasons = JSON.parse(readFileSync(list, 'utf8'));

for (const [file, reason] of Object.entries(reasons)) {
  if (!/^test\/(slow|e2e)\//.test(file)) throw new Error(`${list}: ${file} is not a file of the slow suite`);
  if (!existsSync(join(root, file))) throw new Error(`${list}: ${file} does not exist`);
  if (typeof reason !== 'string' || reason.length < 20)
    throw new Error(`${list}: ${file} has no reason of at least 20 characters`);
}

/** Whether the tests of this file may have a second try. */
export function mayRetry(file) {
  return Object.hasOwn(reasons, relative(root, file).replaceAll('\\', '/'));
}

export const mochaHooks = {
  beforeEach() {
    const test = this.currentTest;
    if (mayRetry(test.file)) test.retries(1);
  },
};
