/** A Python client written from the .proto files alone reaches the scores that rows reach, on every model. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { after, before, describe, it } from 'mocha';
import { loadConfig } from '../../src/config/load.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { createRandomSource } from '../../src/phantom/random-source.js';
import { type RunningServer, startServer } from '../../src/server/server.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { root } from '../support/root.js';

const TOLERANCE = 1e-4;
const MODELS = ['phantom', 'chest-pediatric', 'chest-adult', 'padded'] as const;

interface Result {
  readonly imageScore: number;
  readonly decision: string;
  readonly patches: Readonly<Record<string, number>>;
}

/** Fields of ImageFormat as protobuf's JSON names them, and the stored values. */
interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly image: Readonly<Record<string, unknown>>;
  readonly values: ArrayLike<number>;
}

/** A phantom resampled by its nearest pixels, 0 to 4095: any shape, edges and all. */
function picture(rows: number, columns: number, seed: number): Uint16Array {
  const size = Math.max(rows, columns);
  const { samples } = makePhantom({ seed, size, lesion: 'consolidation' });
  const random = createRandomSource(seed, 'grain');
  return Uint16Array.from({ length: rows * columns }, (_, i) => {
    const y = Math.floor((Math.floor(i / columns) * size) / rows);
    const x = Math.floor(((i % columns) * size) / columns);
    return Math.min(4095, Math.max(0, samples[y * size + x]! + random.integer(-40, 40)));
  });
}

const twelve = { bitsAllocated: 16, bitsStored: 12 } as const;
const windowOf = (name: string, center: number, width: number) => ({
  window: { center, width, function: `VOI_FUNCTION_${name}` },
});

const CASES: Readonly<Record<string, Case>> = {
  'eight bits, as large as the working image': {
    rows: 256,
    columns: 256,
    image: { bitsAllocated: 8 },
    values: picture(256, 256, 1).map((value) => value >> 4),
  },
  'twelve bits, larger and not square, LINEAR window': {
    rows: 700,
    columns: 531,
    image: { ...twelve, voi: windowOf('LINEAR', 1900, 2500) },
    values: picture(700, 531, 2),
  },
  'twelve bits, smaller, MONOCHROME1, SIGMOID window': {
    rows: 150,
    columns: 190,
    image: {
      ...twelve,
      photometricInterpretation: 'PHOTOMETRIC_INTERPRETATION_MONOCHROME1',
      voi: windowOf('SIGMOID', 2000, 1500),
    },
    values: picture(150, 190, 3),
  },
  'signed, rescaled, LINEAR_EXACT window': {
    rows: 300,
    columns: 220,
    image: {
      bitsAllocated: 16,
      bitsStored: 13,
      isSigned: true,
      rescaleSlope: 0.5,
      rescaleIntercept: -100,
      voi: windowOf('LINEAR_EXACT', -120, 900),
    },
    values: picture(300, 220, 4).map((value) => (value - 2048) & 0x1fff),
  },
  'a LUT that bends': {
    rows: 260,
    columns: 410,
    image: {
      ...twelve,
      voi: {
        lut: {
          firstValue: 100,
          bitsPerEntry: 12,
          entries: Array.from({ length: 3500 }, (_, i) => Math.round(4095 * (i / 3499) ** 1.7)),
        },
      },
    },
    values: picture(260, 410, 5),
  },
  'an automatic window, negative slope': {
    rows: 333,
    columns: 333,
    image: { ...twelve, rescaleSlope: -1, rescaleIntercept: 4095, voi: { auto: { lowPercentile: 3 } } },
    values: picture(333, 333, 6),
  },
};

describe('a client written from the contract alone', function () {
  // The Python packages are installed the first time.
  this.timeout(600_000);
  const folder = mkdtempSync(join(tmpdir(), 'salad-conformance-'));
  let server: RunningServer;
  let client: ChildProcessByStdio<Writable, Readable, null>;
  let answers: AsyncIterator<string>;
  let lines: Interface;

  before(async () => {
    const { pythonEnvironment } = await import(join(root, 'scripts/python-environment.mjs'));
    const sources = join(root, 'test/slow/conformance');
    const python = pythonEnvironment('conformance', join(sources, 'requirements.txt'));
    // The shipped models, and one that keeps the aspect ratio.
    const models = join(folder, 'models');
    cpSync(join(root, 'models'), models, { recursive: true });
    await writeSmallBundle(models, {
      name: 'padded',
      fit: 'pad',
      intensity: { kind: 'percentile', low: 2, high: 98 },
    });
    const flags = { models, listen: '127.0.0.1:0', engine: 'onnx', workers: 1 };
    server = await startServer(
      await loadConfig({ flags: { ...flags, engineStandbyDelayMs: 0, logLevel: 'silent' } }),
    );
    client = spawn(python, [join(sources, 'client.py'), join(root, 'proto'), server.address], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    lines = createInterface({ input: client.stdout });
    answers = lines[Symbol.asyncIterator]();
  });
  after(async () => {
    const exited = once(client, 'exit');
    client.stdin.end();
    await exited;
    lines.close();
    await server.stop(0);
    rmSync(folder, { recursive: true });
  });

  for (const [name, { rows, columns, image, values }] of Object.entries(CASES)) {
    it(`reaches the scores of rows with tiles it cut itself: ${name}`, async () => {
      const samples = join(folder, 'samples');
      const wide = image['bitsAllocated'] === 16;
      writeFileSync(samples, new Uint8Array((wide ? Uint16Array : Uint8Array).from(values).buffer));
      for (const model of MODELS) {
        client.stdin.write(`${JSON.stringify({ model, rows, columns, samples, image })}\n`);
        const { value, done } = await answers.next();
        assert.ok(!done, 'the client ended; its own words are above');
        const result = JSON.parse(value) as { readonly rows: Result; readonly tiles: Result };
        const expected = Object.entries(result.rows.patches);
        assert.ok(expected.length > 30 && Number.isFinite(result.rows.imageScore), model);
        assert.equal(Object.keys(result.tiles.patches).length, expected.length);
        const differences = expected.map(([patch, score]) => Math.abs(score - result.tiles.patches[patch]!));
        const largest = Math.max(...differences);
        const ofImage = Math.abs(result.rows.imageScore - result.tiles.imageScore);
        console.log(`      ${model}: patches ${largest.toExponential(1)}, image ${ofImage.toExponential(1)}`);
        assert.ok(largest <= TOLERANCE, `${model}: a patch score differs by ${largest}`);
        assert.ok(
          ofImage <= TOLERANCE * Math.max(1, Math.abs(result.rows.imageScore)),
          `${model}: ${ofImage}`,
        );
        assert.equal(result.tiles.decision, result.rows.decision);
      }
    });
  }
});
