/**
 * The far end of the receive-window test: uploads one radiograph several times and prints the times as JSON.
 * usage: upload-client.ts ADDRESS ROWS COLUMNS UPLOADS
 */
import { type PixelChunk, SaladClient, Source } from '../../../clients/typescript/src/index.js';

const [address = '', rows = 0, columns = 0, uploads = 0] = process.argv
  .slice(2)
  .map((text, index) => (index === 0 ? text : Number(text))) as [string, number, number, number];
const ROWS_PER_MESSAGE = 16;
const rowBytes = columns * 2;
const samples = new Uint8Array(rows * rowBytes).map((_, index) => (index * 2654435761) >>> 24);
const chunks: PixelChunk[] = [];
for (let firstRow = 0; firstRow < rows; firstRow += ROWS_PER_MESSAGE) {
  const end = Math.min(rows, firstRow + ROWS_PER_MESSAGE);
  chunks.push({
    type: 'rows',
    rows: { firstRow, samples: samples.subarray(firstRow * rowBytes, end * rowBytes) },
  });
}

const client = new SaladClient(address);
const roundTripMs: number[] = [];
const uploadMs: number[] = [];
for (let upload = 0; upload < uploads; upload++) {
  // A round trip on the warm connection, as a modality that has listed its models has made.
  const before = performance.now();
  await client.listModels({ timeoutMs: 10_000 });
  roundTripMs.push(performance.now() - before);
  const started = performance.now();
  await client.scoreAcquisition(
    {
      acquisitionId: `upload-${upload}`,
      model: { name: 'small' },
      image: { rows, columns, bitsAllocated: 16 },
      source: Source.SOURCE_ROWS,
    },
    chunks,
    { timeoutMs: 60_000, retry: false },
  );
  uploadMs.push(performance.now() - started);
}
client.close();
process.stdout.write(`${JSON.stringify({ bytes: samples.byteLength, roundTripMs, uploadMs })}\n`);
