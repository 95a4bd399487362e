// Scores PNG and JPEG files and prints one line for each: node score-files.mjs HOST:PORT MODEL FILE ...
import { readFile } from 'node:fs/promises';
import { Decision, SaladClient, SaladClientError } from '@salad-serve/client';

const [target, model, ...files] = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: score-files.mjs HOST:PORT MODEL FILE ...');
  process.exit(2);
}
/** `normal`, `anomalous` or `indeterminate`. */
const nameOf = (decision) => Decision[decision].replace('DECISION_', '').toLowerCase();

const client = new SaladClient(target);
for (const [index, file] of files.entries()) {
  const header = { acquisitionId: `file-${index}`, model: { name: model } };
  try {
    const encoded = await readFile(file);
    const { decision, pValue, warnings } = await client.scoreImage(
      header,
      { encoded },
      { timeoutMs: 60_000 },
    );
    console.log(`${file}: ${nameOf(decision)}, p = ${pValue.toFixed(4)}`);
    for (const { message } of warnings) console.log(`  ${message}`);
  } catch (error) {
    // The server refused it, or the file cannot be read.
    if (!(error instanceof SaladClientError || error.code)) throw error;
    console.error(`${file}: ${error.message}`);
    process.exitCode = 1;
  }
}
client.close();
