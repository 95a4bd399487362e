// mocha's spec reporter, closing with plain lines that any machine can read.
import mocha from 'mocha';

const line = (outcome, test, error) => {
  const message = String(error?.message ?? error).replaceAll(/\s+/g, ' ');
  return `mocha: ${outcome} ${test.fullTitle()}: ${message.slice(0, 200)}`;
};

export default class PlainClosingLine extends mocha.reporters.Spec {
  retried = [];

  constructor(runner, options) {
    super(runner, options);
    runner.on(mocha.Runner.constants.EVENT_TEST_RETRY, (test, error) => {
      this.retried.push(line('TRIED AGAIN', test, error));
    });
  }

  epilogue() {
    super.epilogue();
    for (const retried of this.retried) console.log(retried);
    for (const test of this.failures) console.log(line('FAILED', test, test.err));
    console.log(`mocha: ${this.stats.passes} passed, ${this.stats.failures} failed`);
  }
}
