/** Loaded before every test: properties try the same examples each time, so that a failure is a change's. */
import fc from 'fast-check';

/** SALAD_TEST_SEED=random (or a number) tries others. */
const asked = process.env['SALAD_TEST_SEED'] ?? '1';
if (asked !== 'random') fc.configureGlobal({ seed: Number(asked) });
