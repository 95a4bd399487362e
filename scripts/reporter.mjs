// mocha's spec reporter, closing with plain lines that any machine can read.
import mocha from 'mocha';

export default class PlainClosingLine extends mocha.reporters.Spec {
  epilogue() {
    super.epilogue();
    for (const test of this.failures) {
      const message = String(test.err?.message ?? test.err).replaceAll(/\s+/g, ' ');
      console.log(`mocha: FAILED ${test.fullTitle()}: ${message.slice(0, 200)}`);
    }
    console.log(`mocha: ${this.stats.passes} passed, ${this.stats.failures} failed`);
  }
}
