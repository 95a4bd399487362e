/** `node --import tsx test/support/engines/write-small-models.ts DIR`: a folder of bundles whose only bundle is quick anywhere. */
import { writeSmallBundle } from './small-bundle.js';

const [, , folder] = process.argv;
if (folder === undefined) throw new Error('usage: write-small-models.ts DIR');
// Few tiles in an image: a software adapter takes about a second for one.
await writeSmallBundle(folder, { coresPerTile: 4 });
