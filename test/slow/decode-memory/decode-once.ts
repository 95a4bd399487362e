/** Decodes files one after another and prints what that took, as JSON. `--expose-gc` is needed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { decodeImage } from '../../../src/imaging/decode/decode.js';
import { GREY, png } from '../../support/images/png.js';

const files = process.argv.slice(2);
const collect = globalThis.gc!;

function residentBytes(which: 'VmRSS' | 'VmHWM'): number {
  const match = new RegExp(`^${which}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(match?.[1]) * 1024;
}

const limits = { maxPixels: Number.MAX_SAFE_INTEGER };
// Libraries and code that is compiled at first use.
await decodeImage(png({ rows: 2, columns: 2, bits: 8, colourType: GREY, values: [1, 2, 3, 4] }), limits);
collect();
// Linux's way to reset VmHWM.
writeFileSync('/proc/self/clear_refs', '5');
const start = residentBytes('VmRSS');
let reserved = 0;
const kept: number[] = [];
for (const file of files) {
  const bytes = readFileSync(file);
  await decodeImage(bytes, { ...limits, reserve: (amount) => (reserved = amount) });
  collect();
  await new Promise((resolve) => setTimeout(resolve, 100));
  collect();
  kept.push(residentBytes('VmRSS') - start);
}
console.log(JSON.stringify({ peak: residentBytes('VmHWM') - start, reserved, kept }));
