// The spec reporter of mocha, with machine-readable lines at the end. A retried test fails the run unless its file is
// on the list of files that may be retried.
import mocha from 'mocha';
import { mayRetry } from './retried.mjs';

const line = (outcome, test, error) => {
  const message = String(error?.message ?? error).replaceAll(/\s+/g, ' ');
  return `mocha: ${outcome} ${test.fullTitle()}: ${message.slice(0, 200)}`;
};

export default class SpecWithSummary extends mocha.reporters.Spec {
  retried = [];
  forbidden = 0;

  constructor(runner, options) {
    super(runner, options);
    runner.on(mocha.Runner.constants.EVENT_TEST_RETRY, (test, error) => {
      this.retried.push(line('TRIED AGAIN', test, error));
      if (!mayRetry(test.file)) this.forbidden += 1;
    });
  }

  epilogue() {
    super.epilogue();
    for (const retried of this.retried) console.log(retried);
    for (const test of this.failures) console.log(line('FAILED', test, test.err));
    if (this.forbidden > 0)
      console.log(`mocha: ${this.forbidden} retries not on the list test/slow/retried.json`);
    // The exit code of mocha is this count.
    this.runner.failures += this.forbidden;
    console.log(`mocha: ${this.stats.passes} passed, ${this.stats.failures + this.forbidden} failed`);
    endSoon();
  }
}

/** What a test left open (a server, a worker) must not keep the run from ending; the run fails for it. */
function endSoon() {
  setTimeout(() => {
    const open = process.getActiveResourcesInfo().join(', ');
    console.log(`mocha: FAILED the process does not end after its tests; open: ${open}`);
    // mocha's own listener sets the code that its tests earned.
    process.on('exit', () => {
      process.exitCode = 1;
    });
    process.exit();
  }, 60_000).unref();
}
