/** What the server refuses: every client must report its status, reason and fields. */
import { type Case, chunks, display, eight, header, image, plain, rowChunks, sixteen } from './case.js';
import type { ErrorMessage } from './protocol.js';

const invalid = (reason: string, field: string): Partial<ErrorMessage> => ({
  status: 'INVALID_ARGUMENT',
  reason,
  fields: [field],
  retryAfterMs: null,
});
const tile = (row: number, column: number) => ({ row, column, offset: 0, length: 256 });
const tiles = header({}, { source: 'SOURCE_TILES' });
/** More bytes than the place `short` takes in a message. */
const LONG = 2 * 65_536;
/** The longest text of a message that the server takes. */
const TEXT_BYTES_MAX = 4096;
const tooLarge: Partial<ErrorMessage> = {
  status: 'RESOURCE_EXHAUSTED',
  reason: 'MESSAGE_TOO_LARGE',
  retryAfterMs: null,
};

/** An element of DICOM, explicit little endian. */
function element(group: number, number: number, representation: string, value: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16LE(group, 0);
  head.writeUInt16LE(number, 2);
  head.write(representation, 4, 'latin1');
  head.writeUInt16LE(value.byteLength, 6);
  return Buffer.concat([head, value]);
}

/** A bare data set: with the prefix of a file the Python client would read it itself. It has no pixels. */
const dicomWithoutPixels = Buffer.concat([
  element(0x0008, 0x0016, 'UI', Buffer.from('1.2.840.10008.5.1.4.1.1.1.1\0', 'latin1')),
  element(0x0028, 0x0010, 'US', Buffer.from([64, 0])),
  element(0x0028, 0x0011, 'US', Buffer.from([64, 0])),
]);

export const REFUSALS: readonly Case[] = [
  {
    ...plain,
    name: 'MODEL_NOT_FOUND',
    openInference: {},
    ask: { header: header({}, { model: { name: 'nobody' } }) },
    error: { status: 'NOT_FOUND', reason: 'MODEL_NOT_FOUND' },
  },
  {
    ...plain,
    name: 'HEADER_INVALID',
    ask: { header: header({ rows: 0 }), chunks },
    error: invalid('HEADER_INVALID', 'header.image.rows'),
  },
  {
    ...plain,
    name: 'IMAGE_TOO_LARGE',
    ask: { header: header({ rows: 60_000, columns: 60_000 }), chunks },
    error: { status: 'RESOURCE_EXHAUSTED', reason: 'IMAGE_TOO_LARGE', retryAfterMs: null },
  },
  {
    ...plain,
    name: 'ROWS_OUT_OF_ORDER',
    ask: { header: header(), chunks: chunks.slice(1) },
    error: invalid('ROWS_OUT_OF_ORDER', 'rows.first_row'),
  },
  {
    ...plain,
    name: 'CHECKSUM_MISMATCH',
    fault: 'damaged',
    ask: { header: header(), chunks },
    error: invalid('CHECKSUM_MISMATCH', 'end.crc32c'),
  },
  {
    ...plain,
    name: 'MESSAGE_INVALID',
    ask: { header: header({}, { acquisitionId: 'a'.repeat(TEXT_BYTES_MAX + 1) }), chunks },
    error: { status: 'INVALID_ARGUMENT', reason: 'MESSAGE_INVALID', retryAfterMs: null },
  },
  {
    ...plain,
    name: 'SAMPLE_COUNT_MISMATCH',
    ask: { header: header(), chunks: [{ firstRow: 0, offset: 0, length: 100 }] },
    error: invalid('SAMPLE_COUNT_MISMATCH', 'rows.samples'),
  },
  {
    ...plain,
    name: 'MESSAGE_UNEXPECTED',
    ask: { header: header(), chunks: [{ tiles: [tile(0, 0)] }] },
    error: invalid('MESSAGE_UNEXPECTED', 'tiles'),
  },
  {
    ...plain,
    name: 'TILE_DUPLICATE',
    ask: { header: tiles, chunks: [{ tiles: [tile(0, 0), tile(0, 0)] }] },
    error: invalid('TILE_DUPLICATE', 'tiles.tiles'),
  },
  {
    ...plain,
    name: 'TILE_OUT_OF_GRID',
    ask: { header: tiles, chunks: [{ tiles: [tile(0, 9)] }] },
    error: invalid('TILE_OUT_OF_GRID', 'tiles.tiles'),
  },
  {
    name: 'SAMPLE_INVALID',
    place: 'plain',
    samples: display(eight(3)).fill(0xff),
    ask: { header: header({ bitsAllocated: 32, bitsStored: 8 }, { source: 'SOURCE_TILES' }), display: true },
    error: invalid('SAMPLE_INVALID', 'tiles.tiles'),
  },
  {
    ...plain,
    name: 'ACQUISITION_INCOMPLETE',
    ask: { header: header(), chunks: chunks.slice(0, 3) },
    error: { status: 'FAILED_PRECONDITION', reason: 'ACQUISITION_INCOMPLETE' },
  },
  {
    ...plain,
    name: 'FALSE_POSITIVE_RATE_UNREACHABLE',
    openInference: {},
    ask: { header: header({}, { options: { maxFalsePositiveRate: 0.0001 } }) },
    error: { status: 'FAILED_PRECONDITION', reason: 'FALSE_POSITIVE_RATE_UNREACHABLE' },
  },
  {
    name: 'IMAGE_UNREADABLE',
    openInference: { error: invalid('IMAGE_UNREADABLE', 'inputs.image') },
    place: 'plain',
    encoded: image,
    ask: { header: { model: { name: 'small' } } },
    error: invalid('IMAGE_UNREADABLE', 'encoded'),
  },
  {
    name: 'DICOM_UNSUPPORTED',
    openInference: { error: invalid('DICOM_UNSUPPORTED', 'inputs.image') },
    place: 'plain',
    encoded: dicomWithoutPixels,
    ask: { header: { model: { name: 'small' } } },
    error: invalid('DICOM_UNSUPPORTED', 'encoded'),
  },
  {
    name: 'no rows: TENSOR_INVALID of a tensor',
    openInference: { error: invalid('TENSOR_INVALID', 'inputs.image.shape') },
    place: 'plain',
    samples: new Uint8Array(0),
    ask: { header: header({ rows: 0 }), chunks: [] },
    error: invalid('HEADER_INVALID', 'header.image.rows'),
  },
  {
    name: '17 bits: PARAMETER_INVALID of a tensor',
    openInference: { error: invalid('PARAMETER_INVALID', 'parameters.bits_stored') },
    place: 'plain',
    samples: sixteen(4),
    ask: { header: header({ bitsAllocated: 16, bitsStored: 17 }) },
    error: invalid('HEADER_INVALID', 'header.image.bits_stored'),
  },
  {
    name: 'MESSAGE_TOO_LARGE',
    openInference: {},
    place: 'short',
    samples: eight(12, LONG),
    ask: { header: header({ columns: LONG / 64 }), chunks: rowChunks(64, 64, LONG / 64) },
    error: tooLarge,
  },
  {
    name: 'MESSAGE_TOO_LARGE, a file',
    openInference: {},
    place: 'short',
    encoded: eight(12, LONG),
    ask: { header: { model: { name: 'small' } } },
    error: tooLarge,
  },
  {
    ...plain,
    name: 'refused while pixels are sent',
    ask: { header: header({ columns: 1024 }), chunks: Array.from({ length: 40 }, () => chunks).flat() },
    error: invalid('SAMPLE_COUNT_MISMATCH', 'rows.samples'),
  },
  {
    ...plain,
    name: 'CREDENTIALS_MISSING',
    openInference: {},
    place: 'keys',
    ask: { header: header() },
    error: { status: 'UNAUTHENTICATED', reason: 'CREDENTIALS_MISSING' },
  },
  {
    ...plain,
    name: 'CREDENTIALS_INVALID',
    openInference: {},
    place: 'keys',
    ask: { header: header(), apiKey: 'wrong' },
    error: { status: 'UNAUTHENTICATED', reason: 'CREDENTIALS_INVALID' },
  },
  {
    ...plain,
    name: 'CREDENTIALS_UNVERIFIABLE',
    openInference: {},
    place: 'keyless',
    ask: { header: header(), tokens: ['token'], retry: false },
    error: { status: 'UNAVAILABLE', reason: 'CREDENTIALS_UNVERIFIABLE', retryAfterMs: 40 },
  },
  {
    ...plain,
    name: 'SCOPE_MISSING',
    openInference: {},
    place: 'tokens',
    ask: { header: header(), tokens: ['scopelessToken'] },
    error: { status: 'PERMISSION_DENIED', reason: 'SCOPE_MISSING' },
  },
  {
    ...plain,
    name: 'an answer above the limit',
    ask: {
      header: header({}, { options: { anomalyMap: 'ANOMALY_MAP_FORMAT_FLOAT32' } }),
      maxReceiveBytes: 1000,
    },
    error: { status: 'RESOURCE_EXHAUSTED', reason: '', retryAfterMs: null },
  },
];
