// Every test has one try, but for those of the files that test/slow/retried.json names: they have two. mocha requires
// this file. The list maps a file of the slow suite to the reason why a second try says nothing against the program.
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './root.mjs';

// The tests of this file have a list of their own.
const list = process.env.SALAD_TEST_RETRIED ?? join(root, 'test/slow/retried.json');
const reasons = JSON.parse(readFileSync(list, 'utf8'));

for (const [file, reason] of Object.entries(reasons)) {
  if (!/^test\/(slow|e2e)\//.test(file)) throw new Error(`${list}: ${file} is not of the slow suite`);
  if (!existsSync(join(root, file))) throw new Error(`${list}: there is no ${file}`);
  if (typeof reason !== 'string' || reason.length < 20) throw new Error(`${list}: ${file} has no reason`);
}

/** Whether the tests of this file may be tried twice. */
export function mayRetry(file) {
  return Object.hasOwn(reasons, relative(root, file).replaceAll('\\', '/'));
}

export const mochaHooks = {
  beforeEach() {
    const test = this.currentTest;
    if (mayRetry(test.file)) test.retries(1);
  },
};
