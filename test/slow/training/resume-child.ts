/** A training run that the test kills. argv[2] = checkpoint directory; prints a line per batch. */
import { prepareTrainingBackend } from '../../../src/training/backend/prepare.js';
import { trainSaladEncoder } from '../../../src/training/encoders/salad/trainer.js';
import { syntheticTiles, tinyConfig } from '../../unit/training/encoders/salad/synthetic-tiles.js';

await prepareTrainingBackend('wasm');
await trainSaladEncoder({
  tiles: syntheticTiles(7, 2, 16, 1),
  config: tinyConfig({ epochsPerRound: 15 }),
  seed: 5,
  checkpointDirectory: process.argv[2]!,
  resume: true,
  checkpointEverySeconds: 0,
  onProgress: ({ epoch, step }) => process.stdout.write(`${epoch} ${step}\n`),
});
