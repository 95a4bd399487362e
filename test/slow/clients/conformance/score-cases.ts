/** Images that every client must score to the bit. */
import { GREY, png } from '../../../support/images/png.js';
import { SIDE } from '../../../support/servers/small-server.js';
import {
  blocks,
  type Case,
  chunks,
  display,
  eight,
  header,
  image,
  plain,
  rowChunks,
  signed,
  sixteen,
  window,
} from './case.js';

export const SCORES: readonly Case[] = [
  { ...plain, name: '8 bits in memory', openInference: {}, ask: { header: header() }, scores: {} },
  ...[1, 7, SIDE].map(
    (rows): Case => ({
      ...plain,
      name: `${rows} rows a message`,
      ask: { header: header(), chunks: rowChunks(rows) },
      scores: {},
    }),
  ),
  { ...plain, name: 'a source that is read once', ask: { header: header(), chunks, once: true }, scores: {} },
  {
    name: '12 bits, LINEAR window',
    openInference: {},
    place: 'plain',
    samples: sixteen(4),
    ask: { header: header({ bitsAllocated: 16, bitsStored: 12, voi: window('LINEAR', 1900, 2500) }) },
    scores: {},
  },
  {
    name: 'signed, rescaled, LINEAR_EXACT window',
    openInference: {},
    place: 'plain',
    samples: signed(5),
    ask: {
      header: header({
        bitsAllocated: 16,
        bitsStored: 12,
        isSigned: true,
        rescaleSlope: 0.5,
        rescaleIntercept: -100,
        voi: window('LINEAR_EXACT', -120, 900),
      }),
    },
    scores: {},
  },
  {
    name: 'MONOCHROME1, SIGMOID window',
    openInference: {},
    place: 'plain',
    samples: sixteen(6),
    ask: {
      header: header({
        bitsAllocated: 16,
        bitsStored: 12,
        photometricInterpretation: 'PHOTOMETRIC_INTERPRETATION_MONOCHROME1',
        voi: window('SIGMOID', 2000, 1500),
      }),
    },
    scores: {},
  },
  {
    name: 'a LUT',
    place: 'plain',
    samples: sixteen(7),
    ask: {
      header: header({
        bitsAllocated: 16,
        bitsStored: 12,
        voi: {
          lut: {
            firstValue: -5,
            bitsPerEntry: 12,
            entries: Array.from({ length: 4000 }, (_, i) => Math.round(4095 * (i / 3999) ** 1.7)),
          },
        },
      }),
    },
    scores: {},
  },
  {
    name: 'an automatic window',
    place: 'plain',
    samples: sixteen(8),
    ask: {
      header: header({
        bitsAllocated: 16,
        bitsStored: 12,
        voi: { auto: { lowPercentile: 3, highPercentile: 97 } },
      }),
    },
    scores: {},
    result: { warnings: ['AUTO_WINDOW'] },
  },
  {
    name: '2,500 rows of 2,000',
    openInference: {},
    place: 'plain',
    samples: blocks(9, 2500, 2000),
    ask: { header: header({ rows: 2500, columns: 2000, bitsAllocated: 16, bitsStored: 12 }) },
    scores: {},
  },
  {
    name: 'a model that keeps the aspect ratio',
    openInference: {},
    place: 'plain',
    samples: eight(10, SIDE * 40),
    ask: { header: header({ columns: 40 }, { model: { name: 'padded' } }) },
    scores: {},
  },
  {
    name: 'tiles of display values',
    place: 'plain',
    samples: display(image),
    ask: { header: header({ bitsAllocated: 32, bitsStored: 8 }, { source: 'SOURCE_TILES' }), display: true },
    scores: { of: header(), samples: image },
  },
  {
    name: 'tiles of a padded model',
    place: 'plain',
    samples: display(eight(11, (SIDE * SIDE) / 2)),
    ask: {
      header: header(
        { columns: SIDE / 2, bitsAllocated: 32, bitsStored: 8 },
        { source: 'SOURCE_TILES', model: { name: 'padded' } },
      ),
      display: true,
    },
    scores: {
      of: header({ columns: SIDE / 2 }, { model: { name: 'padded' } }),
      samples: eight(11, (SIDE * SIDE) / 2),
    },
  },
  {
    name: 'a PNG file',
    openInference: {},
    place: 'plain',
    encoded: png({ rows: SIDE, columns: SIDE, bits: 8, colourType: GREY, values: [...image] }),
    ask: { header: { acquisitionId: 'conformance', model: { name: 'small' } } },
    scores: { of: header(), samples: image },
  },
  {
    ...plain,
    name: 'map, embeddings, neighbours, top patches',
    // All neighbours of the model; no top patches.
    openInference: { result: { embeddings: 64, nearest: 192 } },
    ask: {
      header: header(
        {},
        {
          options: {
            anomalyMap: 'ANOMALY_MAP_FORMAT_FLOAT32',
            embeddings: true,
            nearestPrototypes: 2,
            topPatches: 7,
          },
        },
      ),
    },
    scores: {},
    result: { embeddings: 64, nearest: 128, topPatches: 7 },
  },
  {
    ...plain,
    name: 'without patch scores',
    ask: { header: header({}, { options: { patchScores: false, topPatches: 0 } }) },
    scores: {},
    result: { scored: 64, topPatches: 0 },
  },
  {
    ...plain,
    name: 'a partial acquisition is indeterminate',
    ask: {
      header: header({}, { options: { earlyEnd: 'EARLY_END_PARTIAL' } }),
      chunks: rowChunks(8, 40),
    },
    scores: { rows: 40 },
    result: { decision: 'INDETERMINATE', missing: 32, warnings: ['PARTIAL'] },
  },
  {
    name: 'a constant image is indeterminate',
    openInference: {},
    place: 'plain',
    samples: new Uint8Array(SIDE * SIDE).fill(9),
    ask: { header: header() },
    scores: {},
    result: { decision: 'INDETERMINATE' },
  },
  {
    ...plain,
    name: 'a version',
    openInference: {},
    ask: { header: header({}, { model: { name: 'small', version: 1 } }) },
    scores: {},
    result: { model: 'small@1' },
  },
  {
    ...plain,
    name: 'eight at a time',
    openInference: {},
    ask: { header: header(), chunks, parallel: 8 },
    scores: {},
  },
  {
    ...plain,
    name: 'two models at a time',
    openInference: {},
    ask: { header: header(), also: header({}, { model: { name: 'stretched' } }) },
    scores: {},
  },
];
