import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type DicomFileOptions,
  dicomFile,
  type Elements,
  testCells,
} from '../../../bench/support/dicom-file.js';
import { type DicomDescription, DicomImage } from '../../../src/dicom/decode.js';
import { createDisplayTransform, type PixelFormat } from '../../../src/imaging/pixel-format/pixel-format.js';

const PLAIN = { rows: 4, columns: 4, cells: testCells(4, 4, 12), bitsStored: 12 };

async function describeFile(
  elements: Elements,
  options: Partial<DicomFileOptions> = {},
): Promise<DicomDescription> {
  const file = await dicomFile({ ...PLAIN, ...options, elements });
  return new DicomImage(file, { maxPixels: 100 }).description;
}

async function formatOf(elements: Elements, options: Partial<DicomFileOptions> = {}): Promise<PixelFormat> {
  const { greyScale, facts } = await describeFile(elements, options);
  assert.deepEqual(facts.reasons, []);
  return greyScale!.format;
}

async function reasonOf(elements: Elements, options: Partial<DicomFileOptions> = {}): Promise<string> {
  return (await describeFile(elements, options)).facts.reasons.join('; ');
}

/** Display values of stored values. */
function display(format: PixelFormat, ...stored: readonly number[]): number[] {
  const bytes = new Uint8Array(Int16Array.from(stored).buffer);
  const samples = format.bitsAllocated === 8 ? Uint8Array.from(stored) : bytes;
  const out = new Float32Array(stored.length);
  createDisplayTransform(format)(samples, out);
  return [...out].map((value) => Number(value.toFixed(3)));
}

const WINDOW = { '00281050 DS': '2048', '00281051 DS': '4096' } as const;
const LUT = (first: number, bits: number, entries: readonly number[], vr: 'US' | 'SS' = 'US'): Elements => ({
  [`00283002 ${vr}`]: [entries.length, first, bits],
  '00283006 US': entries,
});

describe('VOI of DICOM files', () => {
  it('uses the first window, by its function', async () => {
    const elements = { '00281050 DS': '100\\200', '00281051 DS': '50\\60 ' } as const;
    assert.deepEqual((await formatOf(elements)).voi, {
      kind: 'window',
      center: 100,
      width: 50,
      function: 'linear',
    });
    for (const [text, name] of [
      ['LINEAR', 'linear'],
      ['LINEAR_EXACT', 'linearExact'],
      ['SIGMOID', 'sigmoid'],
    ] as const) {
      const { voi } = await formatOf({ ...elements, '00281056 CS': text });
      assert.deepEqual(voi, { kind: 'window', center: 100, width: 50, function: name });
    }
    const { greyScale } = await describeFile(elements);
    assert.deepEqual(greyScale?.notes, ['it has 2 windows: the first is used']);
  });

  it('prefers the first VOI LUT to windows, and notes it', async () => {
    const elements = { ...WINDOW, '00283010 SQ': [LUT(10, 8, [0, 100, 255]), LUT(0, 8, [1, 2])] };
    const { greyScale } = await describeFile(elements);
    assert.equal(greyScale?.format.voi.kind, 'lut');
    assert.deepEqual(display(greyScale!.format, 5, 10, 11, 12, 40), [0, 0, 100, 255, 255]);
    assert.equal(greyScale?.notes.length, 2);
  });

  it('uses percentiles without either, but the full range of 8 bits', async () => {
    const { greyScale } = await describeFile({});
    assert.deepEqual(greyScale?.format.voi, { kind: 'auto', lowPercentile: 1, highPercentile: 99 });
    assert.match(greyScale?.notes[0] ?? '', /neither window nor VOI LUT/);
    const eight = { cells: testCells(4, 4, 8), bitsStored: 8 };
    assert.deepEqual((await formatOf({}, eight)).voi, { kind: 'fullRange' });
    assert.equal((await formatOf({ '00281053 DS': '2' }, eight)).voi.kind, 'auto');
  });

  it('uses LINEAR_EXACT for a window narrower than 1, which LINEAR does not allow', async () => {
    const { greyScale } = await describeFile({
      '00281050 DS': '0.1',
      '00281051 DS': '0.2',
      '00281053 DS': '5e-5',
    });
    assert.deepEqual(greyScale?.format.voi, {
      kind: 'window',
      center: 0.1,
      width: 0.2,
      function: 'linearExact',
    });
    assert.match(greyScale?.notes[0] ?? '', /narrower than 1/);
  });

  const refusals: readonly [string, Elements, RegExp][] = [
    ['no width', { '00281050 DS': '1' }, /1 window centers, but 0 widths/],
    ['a width of 0', { '00281050 DS': '1', '00281051 DS': '0' }, /window width is 0/],
    [
      'a center that is no number',
      { '00281050 DS': 'DOE^JOHN', '00281051 DS': '1' },
      /^\(0028,1050\) is not a number$/,
    ],
    ['an unknown function', { ...WINDOW, '00281056 CS': 'DOE^JOHN' }, /^its VOI LUT Function is none of/],
    ['a table without data', { '00283010 SQ': [{ '00283002 US': [4, 0, 8] }] }, /4 entries has 0 bytes/],
    ['a table without descriptor', { '00283010 SQ': [{ '00283006 US': [4] }] }, /no complete descriptor/],
    ['a table of 20 bits', { '00283010 SQ': [LUT(0, 20, [0, 1])] }, /20 bits an entry/],
    ['a table above its bits', { '00283010 SQ': [LUT(0, 8, [0, 256])] }, /entries above 255/],
  ];
  for (const [what, elements, message] of refusals) {
    it(`refuses ${what}`, async () => assert.match(await reasonOf(elements), message));
  }
});

describe('modality transformation of DICOM files', () => {
  it('uses slope and intercept', async () => {
    const format = await formatOf({ ...WINDOW, '00281053 DS': '0.5', '00281052 DS': '-10' });
    assert.deepEqual([format.rescaleSlope, format.rescaleIntercept], [0.5, -10]);
  });

  it('uses the Modality LUT, whose first value may be negative', async () => {
    const entries = [0, 10, 20, 4095];
    const options = { isSigned: true };
    for (const vr of ['US', 'SS'] as const) {
      const syntax = vr === 'SS' ? 'explicit' : 'implicit';
      const elements = { ...WINDOW, '00283000 SQ': [LUT(-2, 12, entries, vr)] };
      const format = await formatOf(elements, { ...options, syntax });
      assert.deepEqual(format.modalityLut?.firstValue, -2);
      // The window maps 0 .. 4095 to 0 .. 255.
      assert.deepEqual(display(format, -5, -2, -1, 1, 7), [0, 0, 0.623, 255, 255]);
    }
  });

  it('reads tables of 65,536 entries, of 8 bits in words and packed, and of big-endian files', async () => {
    const long = Array.from({ length: 65_536 }, (_, i) => i);
    const item = { '00283002 US': [0, 0, 16], '00283006 OW': new Uint8Array(Uint16Array.from(long).buffer) };
    assert.equal((await formatOf({ '00283000 SQ': [item] })).modalityLut?.entries.length, 65_536);
    const words = { '00283002 US': [3, 0, 8], '00283006 US': [1, 2, 3] };
    const packed = { '00283002 US': [3, 0, 8], '00283006 OW': Uint8Array.from([1, 2, 3]) };
    for (const table of [words, packed]) {
      assert.deepEqual([...(await formatOf({ '00283000 SQ': [table] })).modalityLut!.entries], [1, 2, 3]);
    }
    const { modalityLut } = await formatOf({ '00283000 SQ': [words] }, { syntax: 'bigEndian' });
    assert.deepEqual([...modalityLut!.entries], [1, 2, 3]);
  });

  it('refuses a Modality LUT together with a rescale that changes values', async () => {
    const lut = { '00283000 SQ': [LUT(0, 8, [0, 1])] };
    assert.match(await reasonOf({ ...lut, '00281053 DS': '2' }), /Modality LUT and a rescale/);
    await formatOf({ ...lut, '00281053 DS': '1', '00281052 DS': '0' });
    assert.match(await reasonOf({ '00281053 DS': '0' }), /rescale_slope: must be finite and not 0/);
  });

  it('shows Pixel Padding black, whatever the photometric interpretation', async () => {
    const elements = { ...WINDOW, '00280120 US': [4000], '00280121 US': [3900] };
    for (const photometric of ['MONOCHROME1', 'MONOCHROME2']) {
      const format = await formatOf(elements, { photometric });
      assert.deepEqual(format.padding, { first: 3900, last: 4000 });
      assert.deepEqual(display(format, 3900, 3950, 4000), [0, 0, 0]);
      assert.ok(display(format, 3899)[0] !== 0);
    }
    const signed = await formatOf({ ...WINDOW, '00280120 SS': [-2000] }, { isSigned: true });
    assert.deepEqual(signed.padding, { first: -2000, last: -2000 });
  });

  it('masks values to Bits Stored, so that overlays in the bits above are ignored', async () => {
    const format = await formatOf(WINDOW);
    assert.deepEqual(display(format, 100, 100 | 0x7000), [display(format, 100)[0], display(format, 100)[0]]);
    const signed = await formatOf({ '00281050 DS': '0', '00281051 DS': '4096' }, { isSigned: true });
    assert.deepEqual(display(signed, -100, 0x0fff & -100), [
      display(signed, -100)[0],
      display(signed, -100)[0],
    ]);
  });
});

describe('presentation of DICOM files', () => {
  it('inverts MONOCHROME1 once, with and without an inverse Presentation LUT Shape', async () => {
    const cases: readonly [string, Elements, boolean][] = [
      ['MONOCHROME1', {}, true],
      ['MONOCHROME1', { '20500020 CS': 'INVERSE' }, true],
      ['MONOCHROME2', {}, false],
      ['MONOCHROME2', { '20500020 CS': 'IDENTITY' }, false],
    ];
    for (const [photometric, elements, expected] of cases) {
      assert.equal((await formatOf({ ...WINDOW, ...elements }, { photometric })).monochrome1, expected);
    }
  });

  it('refuses contradictory files, unless the caller decides', async () => {
    const file = await dicomFile({
      ...PLAIN,
      photometric: 'MONOCHROME1',
      elements: { '20500020 CS': 'IDENTITY' },
    });
    const { facts } = new DicomImage(file, { maxPixels: 100 }).description;
    assert.match(facts.reasons[0] ?? '', /Presentation LUT Shape IDENTITY contradicts MONOCHROME1/);
    for (const photometric of ['MONOCHROME1', 'MONOCHROME2'] as const) {
      const { greyScale } = new DicomImage(file, { maxPixels: 100, photometric }).description;
      assert.equal(greyScale?.format.monochrome1, photometric === 'MONOCHROME1');
    }
    assert.match(
      await reasonOf({ '20500020 CS': 'DOE^JOHN' }),
      /^its Presentation LUT Shape is neither IDENTITY nor/,
    );
  });

  it('notes that an image is for processing', async () => {
    const { greyScale } = await describeFile({ ...WINDOW, '00080068 CS': 'FOR PROCESSING' });
    assert.match(greyScale?.notes.join() ?? '', /FOR PROCESSING/);
  });
});

describe('pixel size of DICOM files', () => {
  it('is Pixel Spacing, else that of the detector, else that of the film; values not above 0 are ignored', async () => {
    const cases: readonly [Elements, readonly (number | undefined)[]][] = [
      [{ '00280030 DS': '0.2\\0.1', '00181164 DS': '0.5\\0.5' }, [0.2, 0.1]],
      [{ '00181164 DS': '0.15\\0.15' }, [0.15, 0.15]],
      [{ '00182010 DS': '0.3\\0.3' }, [0.3, 0.3]],
      [{ '00280030 DS': '0.000\\0.000' }, []],
      [{ '00280030 DS': '0.2', '00181164 DS': '0.5\\0.5' }, [0.5, 0.5]],
      [{ '00280034 IS': '2\\1' }, [undefined, undefined, 2]],
      [{ '00280034 IS': '1\\1' }, []],
      [{ '00280034 IS': '01' }, []],
      [{}, []],
    ];
    for (const [elements, [row, column, ratio]] of cases) {
      const { rowSpacingMm, columnSpacingMm, pixelAspectRatio } = await formatOf({ ...WINDOW, ...elements });
      assert.deepEqual([rowSpacingMm, columnSpacingMm, pixelAspectRatio], [row, column, ratio]);
    }
  });
});

describe('enhanced DICOM files', () => {
  it('use the attributes of the frame, else the shared ones', async () => {
    const cells = testCells(8, 4, 12);
    const window = (center: string) => [{ '00281050 DS': center, '00281051 DS': '10' }];
    const file = await dicomFile({
      ...{ rows: 4, columns: 4, frames: 2, cells, bitsStored: 12 },
      elements: {
        '52009229 SQ': [{ '00289110 SQ': [{ '00280030 DS': '0.1\\0.1' }], '00289132 SQ': window('5') }],
        '52009230 SQ': [
          { '00289145 SQ': [{ '00281053 DS': '2', '00281052 DS': '1' }] },
          { '00289132 SQ': window('7') },
        ],
      },
    });
    const image = new DicomImage(file, { maxPixels: 100 });
    const formats = [(await image.frame(0)).format, (await image.frame(1)).format];
    assert.deepEqual(
      formats.map(({ voi, rescaleSlope, rowSpacingMm }) => [
        voi.kind === 'window' && voi.center,
        rescaleSlope,
        rowSpacingMm,
      ]),
      [
        [5, 2, 0.1],
        [7, 1, 0.1],
      ],
    );
  });
});
