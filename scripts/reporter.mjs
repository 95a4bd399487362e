// mocha's spec reporter, closing with one plain line that any machine can read.
import mocha from 'mocha';

export default class PlainClosingLine extends mocha.reporters.Spec {
  epilogue() {
    super.epilogue();
    console.log(`mocha: ${this.stats.passes} passed, ${this.stats.failures} failed`);
  }
}
