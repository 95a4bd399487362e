/** Programs of a project that has installed the TypeScript client's package. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.js';

/** Arguments of the compiler. */
export const STRICT = [
  ...[
    '--strict',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
    '--noPropertyAccessFromIndexSignature',
  ],
  ...['--target', 'es2023', '--module', 'nodenext', '--types', 'node', '--skipLibCheck', 'false'],
];

/** Scores the image `file` on the server `target`. */
export const PROGRAM = `
import { readFileSync } from 'node:fs';
import {
  type AcquisitionAggregate, type AcquisitionHeaderInput, Decision, type ImageFormatInput, SaladClient, SaladClientError,
} from '@salad-serve/client';
import type {
  AffineTransform, AnomalyMap, Calibration, ColourStop, DicomInstance, ModalityLut, ModelIdentity, NearestPrototype,
  PixelPadding, Placement, Quantile, SourceBox, SourcePoint, TilePosition, Timings, VoiAuto, VoiLut, VoiWindow, Warning,
} from '@salad-serve/client';

/** Types of the messages that are inside others. */
export type Inner = [
  AffineTransform, AnomalyMap, Calibration, ColourStop, DicomInstance, ModalityLut, ModelIdentity, NearestPrototype,
  PixelPadding, Placement, Quantile, SourceBox, SourcePoint, TilePosition, Timings, VoiAuto, VoiLut, VoiWindow, Warning,
];
const [target = '', file = ''] = process.argv.slice(2);
const image: ImageFormatInput = { rows: 64, columns: 64, bitsAllocated: 16 };
const rows: AcquisitionHeaderInput = { acquisitionId: 'typed', model: { name: 'phantom' }, image };
// @ts-expect-error a header names its model
const nameless: AcquisitionHeaderInput = { acquisitionId: 'nameless' };
const client = new SaladClient(target);
const header: AcquisitionHeaderInput = { acquisitionId: 'packed', model: { name: 'phantom' }, options: { topPatches: 3 } };
const aggregate: AcquisitionAggregate = await client.scoreImage(header, { encoded: readFileSync(file) });
const refused = await client.scoreImage(nameless, { encoded: readFileSync(file) }).then(
  () => false,
  (error: unknown) => error instanceof SaladClientError && error.reason !== undefined,
);
const boxes: readonly SourceBox[] = aggregate.topPatches.flatMap(({ box }) => box ?? []);
const warnings: readonly Warning[] = aggregate.warnings;
console.log(boxes.length, warnings.length);
console.log(aggregate.decision === Decision.DECISION_ANOMALOUS ? 'anomalous' : 'other', refused && rows.image === image);
client.close();
`;

/** What the README leaves to its reader. */
export const READER = `
import type {
  AcquisitionAggregate, AcquisitionEvent, AcquisitionHeaderInput, PatchScore, PixelChunk, SaladClient,
} from '@salad-serve/client';

declare global {
  const client: SaladClient;
  const header: AcquisitionHeaderInput;
  const samples: Uint8Array;
  const file: string;
  function readOut(firstRow: number, rows: number): Promise<Uint8Array>;
  function rowsOf(file: string): readonly PixelChunk[];
  function highlight(patches: readonly PatchScore[]): void;
  function report(aggregate: AcquisitionAggregate): void;
  function show(event: AcquisitionEvent): void;
  function reset(): void;
  function currentToken(): string;
  function chooseAnother(): Promise<void>;
}
`;

/** Address in the README of the server that its programs score on. */
export const README_TARGET = '127.0.0.1:50051';

/**
 * Runs the compiled blocks of the README one after another, with what it leaves to its reader: `node FILE TARGET COUNT`.
 * It prints which functions of the reader were called, with how many patches or events, a line for each block.
 */
export const README_RUN = `
import { SaladClient, SaladClientError, Source } from '@salad-serve/client';

const [target, count] = process.argv.slice(2);
const side = 256;
const samples = Uint8Array.from({ length: side * side }, (_, index) => (index * 7919) % 251);
/** Squares of many greys, for a large image: noise would be grey once that is made smaller, and not be scored. */
const grey = (row, column, size) => (5 * Math.floor(row / size) + 3 * Math.floor(column / size)) % 16;
const client = new SaladClient(target);
let told = {};
const teller = (name) => (value) => {
  told[name] = (told[name] ?? 0) + (Array.isArray(value) ? value.length : 1);
};
const header = {
  acquisitionId: 'readme',
  model: { name: 'phantom' },
  image: { rows: side, columns: side, bitsAllocated: 8 },
  source: Source.SOURCE_ROWS,
};
Object.assign(globalThis, {
  ...{ client, header, samples, file: 'rows' },
  readOut: async (firstRow, rows) =>
    new Uint8Array(
      Uint16Array.from(
        { length: rows * 3000 },
        (_, index) => 240 * grey(firstRow + index / 3000, index % 3000, 190) + (index % 97),
      ).buffer,
    ),
  rowsOf: () =>
    Array.from({ length: side / 64 }, (_, index) => ({
      type: 'rows',
      rows: { firstRow: index * 64, samples: samples.subarray(index * 64 * side, (index + 1) * 64 * side) },
    })),
  currentToken: () => 'token',
  ...Object.fromEntries(
    ['highlight', 'report', 'show', 'reset', 'chooseAnother'].map((name) => [name, teller(name)]),
  ),
});
for (let index = 1; index <= Number(count); index++) {
  told = {};
  await import(\`./readme-\${index}.js\`);
  console.log(JSON.stringify(told));
}
// The last block again, for a model that is not there.
told = {};
header.model.name = 'nobody';
await import(\`./readme-\${count}.js?again\`);
console.log(JSON.stringify(told));
client.close();
`;

/** Each `ts` block of the client's README as a module of its own. */
export function readmePrograms(): readonly string[] {
  const readme = readFileSync(join(root, 'clients/typescript/README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block]) => `${block}export {};\n`);
  if (blocks.length === 0) throw new Error('the README has no `ts` block');
  return blocks;
}
