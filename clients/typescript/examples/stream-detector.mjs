// Streams rows as a detector reads them out, and prints scores meanwhile: node stream-detector.mjs HOST:PORT MODEL
import { setTimeout as after } from 'node:timers/promises';
import { Decision, SaladClient, SaladClientError, Source } from '@salad-serve/client';

const [rows, columns, band] = [1024, 1024, 32];
const [target, model] = process.argv.slice(2);
if (model === undefined) {
  console.error('usage: stream-detector.mjs HOST:PORT MODEL');
  process.exit(2);
}

/** Bands of 32 rows of 12-bit samples: noise, in the place of what a detector reads out. */
async function* detector() {
  for (let firstRow = 0; firstRow < rows; firstRow += band) {
    await after(20);
    const samples = Uint16Array.from(
      { length: band * columns },
      () => 1000 + Math.floor(2000 * Math.random()),
    );
    // Little-endian, as on every machine that Node runs on.
    yield { type: 'rows', rows: { firstRow, samples: new Uint8Array(samples.buffer) } };
  }
}

const header = {
  acquisitionId: 'detector-1',
  model: { name: model },
  image: { rows, columns, bitsAllocated: 16, bitsStored: 12 },
  source: Source.SOURCE_ROWS,
};
const client = new SaladClient(target);
try {
  for await (const event of client.streamAcquisition(header, detector(), { timeoutMs: 60_000 })) {
    if (event.type === 'accepted') {
      const { name, version } = event.accepted.model ?? {};
      console.log(`accepted by ${name} version ${version} on ${event.accepted.engine}`);
    } else if (event.type === 'patches') console.log(`${event.patches.length} patch scores`);
    else {
      const { decision, pValue, coverage } = event.aggregate;
      const name = Decision[decision].replace('DECISION_', '').toLowerCase();
      console.log(`${name}, p = ${pValue.toFixed(4)}, ${coverage?.scored} patches scored`);
    }
  }
} catch (error) {
  if (!(error instanceof SaladClientError)) throw error;
  console.error(`the call failed: ${error.message}`);
  process.exitCode = 1;
}
client.close();
