/** The anomaly map as a client gets it: in the geometry of the image that was sent. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type {
  AnomalyScoringClient,
  StreamAcquisitionResponse,
} from '../../src/gen/salad/v1/anomaly_scoring.js';
import {
  type AcquisitionAccepted,
  type AcquisitionAggregate,
  type AffineTransform,
  AnomalyMapFormat,
  type PatchScores,
  type SourcePoint,
} from '../../src/gen/salad/v1/types.js';
import { apply, invert } from '../../src/geometry/affine.js';
import { warp } from '../../src/imaging/alignment/alignment-map.js';
import { ALIGNMENT_SIZE, shrink } from '../../src/imaging/alignment/alignment-pyramid.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import type { RunningServer } from '../../src/server/server.js';
import { createRandom } from '../../src/util/random.js';
import { connect, end, header } from '../support/protocol/grpc-client.js';
import { type ModelsFolder, SIDE, smallModels, startSmall } from '../support/servers/small-server.js';

const { ANOMALY_MAP_FORMAT_FLOAT32: FLOAT32, ANOMALY_MAP_FORMAT_PNG_OVERLAY: PNG } = AnomalyMapFormat;
const PATCH = { stride: 8, size: 12, offset: -2 };

interface Image {
  readonly rows: number;
  readonly columns: number;
  readonly samples: Uint8Array;
}

interface Answers {
  readonly accepted: AcquisitionAccepted;
  readonly patches: readonly PatchScores[];
  readonly aggregate: AcquisitionAggregate;
}

/** Whole images as rows through the port. */
function send(
  client: AnomalyScoringClient,
  { rows, columns, samples }: Image,
  anomalyMap: AnomalyMapFormat,
): Promise<Answers> {
  const call = client.streamAcquisition();
  const answers = new Promise<Answers>((resolve, reject) => {
    let accepted: AcquisitionAccepted | undefined;
    const patches: PatchScores[] = [];
    call.on('error', reject);
    call.on('data', ({ payload }: StreamAcquisitionResponse) => {
      if (payload?.$case === 'accepted') accepted = payload.value;
      if (payload?.$case === 'patchScores') patches.push(payload.value);
      if (payload?.$case === 'aggregate') resolve({ accepted: accepted!, patches, aggregate: payload.value });
    });
  });
  const options = { anomalyMap, topPatches: 3, maxFalsePositiveRate: 0.8 };
  call.write({ payload: header({ image: { rows, columns, bitsAllocated: 8 }, options }) });
  call.write({ payload: { $case: 'rows', value: { firstRow: 0, samples } } });
  call.write({ payload: end() });
  call.end();
  return answers;
}

function noise(rows: number, columns: number): Image {
  const random = createRandom(5);
  return { rows, columns, samples: Uint8Array.from({ length: rows * columns }, () => 256 * random()) };
}

function floats({ anomalyMap }: AcquisitionAggregate): Float32Array {
  const { data } = anomalyMap!;
  return new Float32Array(Uint8Array.from(data).buffer);
}

function cornersOf(map: AffineTransform, row: number, column: number): SourcePoint[] {
  const top = PATCH.offset + row * PATCH.stride;
  const left = PATCH.offset + column * PATCH.stride;
  const [bottom, right] = [top + PATCH.size, left + PATCH.size];
  return [
    { x: left, y: top },
    { x: right, y: top },
    { x: right, y: bottom },
    { x: left, y: bottom },
  ].map((corner) => apply(map, corner));
}

function assertNear(actual: readonly SourcePoint[], wanted: readonly SourcePoint[]): void {
  assert.equal(actual.length, wanted.length);
  for (const [index, { x, y }] of actual.entries()) {
    assert.ok(Math.hypot(x - wanted[index]!.x, y - wanted[index]!.y) < 1e-6, `${x}, ${y}`);
  }
}

describe('the anomaly map of an image that is padded', () => {
  let models: ModelsFolder;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  before(async () => {
    models = await smallModels({ fit: 'pad', margin: 1 });
    server = await startSmall(models.path);
    client = connect(server.address);
  });
  after(async () => {
    client.close();
    await server.stop(0);
    await models.remove();
  });

  it('has the size of the source, nothing of the padding, and only cells that count', async () => {
    const image = noise(60, 120);
    const { accepted, patches, aggregate } = await send(client, image, FLOAT32);
    const { rows, columns, mapToSource, workingToSource, countingArea } = aggregate.anomalyMap!;
    assert.deepEqual([rows, columns], [60, 120]);
    assert.deepEqual(mapToSource, { xx: 1, xy: 0, x0: 0, yx: 0, yy: 1, y0: 0 });
    // 64 working pixels across, 32 down, 16 of padding above.
    assert.deepEqual(accepted.workingToSource, { xx: 1.875, xy: 0, x0: 0, yx: 0, yy: 1.875, y0: -30 });
    assert.deepEqual(workingToSource, accepted.workingToSource);
    const z = new Map(
      patches.flatMap((message) => message.patches.map((each) => [8 * each.row + each.column, each.robustZ])),
    );
    const map = floats(aggregate);
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        // Cells are squares of 8 pixels around 4, 12, 20 ...: here the tiling of the working image.
        const [y, x] = [(row + 0.5) / 1.875 + 16, (column + 0.5) / 1.875];
        const [cellRow, cellColumn] = [Math.floor(y / 8), Math.floor(x / 8)];
        const counts = Math.min(cellRow, cellColumn, 7 - cellRow, 7 - cellColumn) >= 1;
        const value = map[row * columns + column]!;
        assert.equal(Number.isNaN(value), !counts, `(${row}, ${column}): ${value}`);
        const isMiddle = Math.abs((y % 8) - 4) < 2 && Math.abs((x % 8) - 4) < 2;
        if (counts && isMiddle) {
          assert.ok(Math.abs(value - z.get(8 * cellRow + cellColumn)!) < 1e-4, `(${row}, ${column})`);
        }
      }
    }
    const { left, right } = { left: 8 * 1.875, right: 56 * 1.875 };
    assertNear(countingArea, [
      { x: left, y: -15 },
      { x: right, y: -15 },
      { x: right, y: 75 },
      { x: left, y: 75 },
    ]);
  });

  it('is colour over the image as sent where it is above the threshold, and nowhere else', async () => {
    const image = noise(60, 120);
    const [float, png] = [await send(client, image, FLOAT32), await send(client, image, PNG)];
    const map = floats(float.aggregate);
    const { threshold, anomalyMap } = png.aggregate;
    assert.deepEqual([anomalyMap!.rows, anomalyMap!.columns], [60, 120]);
    const { data, info } = await sharp(anomalyMap!.data).raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual([info.width, info.height, info.channels], [120, 60, 3]);
    let coloured = 0;
    map.forEach((z, at) => {
      const [red, green, blue] = data.subarray(3 * at, 3 * at + 3);
      assert.equal(red !== green || green !== blue, z > threshold, `${at}: z ${z}, ${red} ${green} ${blue}`);
      coloured += z > threshold ? 1 : 0;
    });
    assert.ok(coloured > 100 && coloured < 5000, `${coloured} pixels`);
  });

  it('contains the values of its colours, from the threshold to the highest value', async () => {
    const { aggregate } = await send(client, noise(60, 120), FLOAT32);
    const { scale } = aggregate.anomalyMap!;
    const highest = Math.max(...[...floats(aggregate)].filter((z) => !Number.isNaN(z)));
    assert.equal(scale[0]!.robustZ, aggregate.threshold);
    assert.equal(scale.at(-1)!.robustZ, Math.max(aggregate.threshold + 3, highest));
    for (const [index, stop] of scale.slice(1).entries()) {
      assert.ok(stop.robustZ > scale[index]!.robustZ && stop.pValue <= scale[index]!.pValue);
      assert.ok(stop.opacity > scale[index]!.opacity && stop.opacity <= 0.7);
    }
  });

  it('of a large image has 512 pixels on the longer side, and contains its exact scale', async () => {
    const { aggregate } = await send(client, noise(1300, 700), FLOAT32);
    const { rows, columns, data, mapToSource } = aggregate.anomalyMap!;
    assert.deepEqual([rows, columns, data.length], [512, 276, 4 * 512 * 276]);
    assert.deepEqual([mapToSource!.yy * rows, mapToSource!.xx * columns], [1300, 700]);
  });
});

describe('the anomaly map of an image that was aligned', () => {
  const phantom = makePhantom({ seed: 5, size: SIDE });
  const brightest = phantom.samples.reduce((a, b) => Math.max(a, b), 0);
  const still = Uint8Array.from(phantom.samples, (value) => (value * 255) / brightest);
  let models: ModelsFolder;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  before(async () => {
    const reference = Uint8Array.from(shrink(still, SIDE, ALIGNMENT_SIZE), Math.round);
    models = await smallModels({
      margin: 1,
      alignment: { kind: 'affine', reference: Buffer.from(reference).toString('base64') },
    });
    server = await startSmall(models.path);
    client = connect(server.address);
  });
  after(async () => {
    client.close();
    await server.stop(0);
    await models.remove();
  });

  /** The phantom turned by 0.12 rad and moved, in a picture twice as wide as high. */
  const moved = new Uint8ClampedArray(SIDE * SIDE);
  warp(still, SIDE, { shiftY: 0.06, shiftX: -0.08, logScaleY: 0, logScaleX: 0.05, angle: 0.12 }, moved);
  const image: Image = {
    rows: SIDE,
    columns: 2 * SIDE,
    samples: Uint8Array.from({ length: 2 * SIDE * SIDE }, (_, at) => moved[at >> 1]!),
  };

  it('has the geometry of the source as sent; patches are located there without the alignment', async () => {
    const { accepted, patches, aggregate } = await send(client, image, FLOAT32);
    const map = aggregate.anomalyMap!;
    assert.deepEqual([map.rows, map.columns], [SIDE, 2 * SIDE]);
    assert.deepEqual(accepted.workingToSource, { xx: 2, xy: 0, x0: 0, yx: 0, yy: 1, y0: 0 });
    const toSource = map.workingToSource!;
    // Undone: by about what the phantom was moved by, the other way round.
    assert.ok(Math.abs(toSource.yx) > 0.06 && Math.abs(toSource.xy) > 0.12, JSON.stringify(toSource));
    for (const message of patches) assert.deepEqual(message.workingToSource, toSource);
    for (const { row, column, box, corners } of aggregate.topPatches) {
      assertNear(corners, cornersOf(toSource, row, column));
      const [xs, ys] = [corners.map(({ x }) => x), corners.map(({ y }) => y)];
      const clip = (value: number, side: number): number => Math.min(side, Math.max(0, value));
      assert.deepEqual(box, {
        top: clip(Math.min(...ys), SIDE),
        left: clip(Math.min(...xs), 2 * SIDE),
        bottom: clip(Math.max(...ys), SIDE),
        right: clip(Math.max(...xs), 2 * SIDE),
      });
    }
  });

  it('has every patch at its place in the source', async () => {
    const { patches, aggregate } = await send(client, image, FLOAT32);
    const map = floats(aggregate);
    const toSource = aggregate.anomalyMap!.workingToSource!;
    let checked = 0;
    for (const { row, column, robustZ } of patches.flatMap((message) => message.patches)) {
      const { x, y } = apply(toSource, { x: 8 * column + 4, y: 8 * row + 4 });
      if (!(x >= 0 && y >= 0 && x < 2 * SIDE && y < SIDE)) continue;
      const value = map[Math.floor(y) * 2 * SIDE + Math.floor(x)]!;
      const counts = Math.min(row, column, 7 - row, 7 - column) >= 1;
      if (counts) assert.ok(Math.abs(value - robustZ) < 1e-4, `(${row}, ${column}): ${value} ${robustZ}`);
      else assert.ok(Number.isNaN(value), `(${row}, ${column}): ${value}`);
      checked += counts ? 1 : 0;
    }
    assert.ok(checked > 25, `${checked} patches`);
    // No value where the aligned image shows nothing of the source.
    const back = invert(toSource);
    map.forEach((value, at) => {
      const { x, y } = apply(back, { x: (at % (2 * SIDE)) + 0.5, y: Math.floor(at / (2 * SIDE)) + 0.5 });
      if (Math.min(x, y) < 8 || Math.max(x, y) > SIDE - 8) assert.ok(Number.isNaN(value), `${at}`);
    });
  });

  it('shows the image as sent under its colours, also a negative', async () => {
    for (const invertedBy of [0, 255]) {
      const samples = image.samples.map((value) => Math.abs(invertedBy - value));
      const { aggregate } = await send(client, { ...image, samples }, PNG);
      assert.equal(aggregate.warnings.length, invertedBy === 0 ? 0 : 1);
      const { data } = await sharp(aggregate.anomalyMap!.data).raw().toBuffer({ resolveWithObject: true });
      const [low, high] = [Math.min(...samples), Math.max(...samples)];
      let grey = 0;
      samples.forEach((value, at) => {
        const [red, green, blue] = data.subarray(3 * at, 3 * at + 3) as unknown as [number, number, number];
        if (red !== green || green !== blue) return;
        grey += 1;
        // Stretched by percentiles, and each working pixel is two of the source.
        assert.ok(Math.abs(red - ((value - low) * 255) / (high - low)) <= 24, `${at}: ${red} for ${value}`);
      });
      assert.ok(grey > samples.length / 4, `${grey} grey pixels`);
    }
  });
});
