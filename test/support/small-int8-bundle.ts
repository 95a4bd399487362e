/** The small bundle with an int8 form. */
import { writeBundle } from '../../src/bundle/bundle.js';
import { writeSmallBundle } from './small-bundle.js';

/** Covers the input and output of the small network's second convolution for random tiles. */
const RANGES = { relu1: { low: -1, high: 3 }, conv2: { low: -3, high: 3 } };

export async function writeSmallInt8Bundle(folder: string, goldenTolerance: number): Promise<void> {
  const { directory, manifest, weights, bank, golden } = await writeSmallBundle(folder);
  const { schemaVersion: _version, bank: _bank, files: _files, ...kept } = manifest;
  const int8 = { ranges: RANGES, goldenTolerance };
  await writeBundle(directory, {
    manifest: { ...kept, int8 },
    weights,
    bank,
    golden,
    modelCard: '# small\n',
  });
}
