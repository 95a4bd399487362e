import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import type { GRPCInferenceServiceClient } from '../../src/gen/inference/grpc_service.js';
import { AcquisitionHeader, AnomalyMapFormat, Decision, Source } from '../../src/gen/salad/v1/types.js';
import { collect, type Outcome, refusal } from '../support/protocol/grpc-client.js';
import {
  bytesData,
  bytesOf,
  connectInference,
  type InferOptions,
  infer,
  numbers,
  shapeOf,
  textParameter,
  texts,
} from '../support/protocol/open-inference.js';
import { image, randomImage, type Serving, startServing } from '../support/servers/serving.js';

const SIDE = 64;
const PIXELS = SIDE * SIDE;

describe('the Open Inference Protocol', function () {
  this.timeout(60_000);
  let serving: Serving;
  let client: GRPCInferenceServiceClient;

  before(async () => {
    serving = await startServing();
    client = connectInference(serving.server.address);
  });
  after(async () => {
    client.close();
    await serving.stop();
  });

  const u8 = (data: Uint8Array = image, changes: Partial<InferOptions> = {}): InferOptions => ({
    model: 'small',
    version: '1',
    inputs: [{ datatype: 'UINT8', shape: [data.length / PIXELS, SIDE, SIDE, 1], data }],
    ...changes,
  });
  /** By ScoreImage of salad.v1. */
  const scored = (
    samples: Uint8Array,
    changes: Partial<AcquisitionHeader> = {},
    model = { name: 'small', version: 1 },
  ): Promise<Outcome> => {
    const header = AcquisitionHeader.fromPartial({
      ...{ acquisitionId: 'a', source: Source.SOURCE_ROWS, model },
      image: { rows: SIDE, columns: SIDE, bitsAllocated: 8 * (samples.length / PIXELS) },
      ...changes,
    } as never);
    return collect(
      serving.client.scoreImage({ header, image: { $case: 'raw', value: samples }, frame: undefined }),
    );
  };
  const patchScores = ({ patches }: Outcome) =>
    Array.from({ length: 64 }, (_, cell) => patches.get(cell)?.score ?? Number.NaN);

  describe('whole images', () => {
    it('scores as ScoreImage does, to the bit, and says what scored', async () => {
      const expected = await scored(image);
      const response = await infer(client, u8(image, { id: 'study-17' }));
      assert.deepEqual(numbers(response, 'patch_scores'), patchScores(expected));
      assert.deepEqual(numbers(response, 'image_score'), [expected.aggregate.imageScore]);
      assert.deepEqual(numbers(response, 'p_value'), [expected.aggregate.pValue]);
      assert.equal(
        Decision[`DECISION_${texts(response, 'decision')[0]}` as 'DECISION_NORMAL'],
        expected.aggregate.decision,
      );
      assert.deepEqual(
        response.outputs.map(({ name }) => [name, shapeOf(response, name)]),
        [
          ['image_score', [1, 1]],
          ['p_value', [1, 1]],
          ['decision', [1, 1]],
          ['patch_scores', [1, 8, 8]],
        ],
      );
      assert.deepEqual([response.id, response.modelName, response.modelVersion], ['study-17', 'small', '1']);
      assert.equal(textParameter(response, 'engine'), 'onnx');
      assert.equal(textParameter(response, 'bundle_sha256'), serving.bundle.sha256);
      assert.equal(textParameter(response, 'warnings'), undefined);
      assert.ok(response.outputs.every(({ contents }) => contents === undefined));
    });

    it('gives the same scores whatever form the pixels have', async () => {
      const wide = Uint16Array.from(image, (value) => value * 257);
      const unit = Float32Array.from(image, (value) => value / 255);
      const png = await sharp(image, { raw: { width: SIDE, height: SIDE, channels: 1 } })
        .png()
        .toBuffer();
      const forms: Record<string, InferOptions['inputs'][number]> = {
        channelsFirst: { datatype: 'UINT8', shape: [1, 1, SIDE, SIDE], data: image },
        plain: { datatype: 'UINT8', shape: [SIDE, SIDE], data: image },
        UINT16: { datatype: 'UINT16', shape: [1, SIDE, SIDE, 1], data: bytesOf(wide) },
        FP32: { datatype: 'FP32', shape: [1, SIDE, SIDE, 1], data: bytesOf(unit) },
        file: { datatype: 'BYTES', shape: [1], data: bytesData([png]) },
        fileInRow: { datatype: 'BYTES', shape: [1, 1], data: bytesData([png]) },
      };
      const expected = numbers(await infer(client, u8()), 'patch_scores');
      for (const [form, input] of Object.entries(forms)) {
        const response = await infer(client, u8(image, { inputs: [input] }));
        assert.deepEqual(numbers(response, 'patch_scores'), expected, form);
      }
    });

    it('takes the meaning of stored values from parameters, as the header of salad.v1', async () => {
      const signed = Int16Array.from(image, (value) => 8 * value - 1000);
      const parameters = {
        ...{ window_center: 100, window_width: 900, window_function: 'SIGMOID' },
        ...{ photometric_interpretation: 'MONOCHROME1', bits_stored: 12n },
        ...{ rescale_slope: 0.5, rescale_intercept: -20, max_false_positive_rate: 0.3 },
      };
      const response = await infer(client, {
        ...{ model: 'small', version: '1', parameters, outputs: ['patch_scores', 'threshold'] },
        inputs: [{ datatype: 'INT16', shape: [1, SIDE, SIDE, 1], data: bytesOf(signed) }],
      });
      const expected = await scored(bytesOf(signed), {
        image: {
          ...{ rows: SIDE, columns: SIDE, bitsAllocated: 16, bitsStored: 12, isSigned: true },
          ...{ rescaleSlope: 0.5, rescaleIntercept: -20, photometricInterpretation: 1 },
          voi: { transform: { $case: 'window', value: { center: 100, width: 900, function: 3 } } },
        } as never,
        options: { maxFalsePositiveRate: 0.3 } as never,
      });
      assert.deepEqual(numbers(response, 'patch_scores'), patchScores(expected));
      assert.deepEqual(numbers(response, 'threshold'), [expected.aggregate.threshold]);
      const plain = await infer(client, {
        ...{ model: 'small', version: '1' },
        inputs: [{ datatype: 'INT16', shape: [1, SIDE, SIDE, 1], data: bytesOf(signed) }],
      });
      assert.notDeepEqual(numbers(plain, 'patch_scores'), numbers(response, 'patch_scores'));
    });

    it('takes the window of FP32 in its own values', async () => {
      const unit = Float32Array.from(image, (value) => value / 255);
      const window = (center: number, width: number) => ({
        ...{ window_center: center, window_width: width, window_function: 'SIGMOID' },
      });
      const asFloats = await infer(client, {
        ...{ model: 'small', version: '1', parameters: window(0.5, 0.25) },
        inputs: [{ datatype: 'FP32', shape: [SIDE, SIDE], data: bytesOf(unit) }],
      });
      const asWords = await infer(client, {
        ...{ model: 'small', version: '1', parameters: window(0.5 * 65_535, 0.25 * 65_535) },
        inputs: [
          { datatype: 'UINT16', shape: [SIDE, SIDE], data: bytesOf(Uint16Array.from(image, (v) => v * 257)) },
        ],
      });
      const [floats, words] = [asFloats, asWords].map((each) => numbers(each, 'patch_scores'));
      for (const [cell, score] of words!.entries()) assert.ok(Math.abs(floats![cell]! - score) < 1e-6);
    });

    it('scores every image of a batch as it would alone', async () => {
      const images = Array.from({ length: 11 }, (_, seed) => randomImage(seed + 1));
      const outputs = ['image_score', 'patch_scores', 'decision'];
      const together = await infer(client, u8(Buffer.concat(images), { outputs }));
      assert.deepEqual(shapeOf(together, 'patch_scores'), [11, 8, 8]);
      const alone = await Promise.all(images.map((each) => infer(client, u8(each, { outputs }))));
      for (const name of ['image_score', 'patch_scores']) {
        assert.deepEqual(
          numbers(together, name),
          alone.flatMap((each) => numbers(each, name)),
        );
      }
      assert.deepEqual(
        texts(together, 'decision').map(String),
        alone.map((each) => String(texts(each, 'decision')[0])),
      );
    });

    it('gives further outputs by their names', async () => {
      const names = ['threshold', 'patch_z', 'patch_p_values', 'coverage', 'anomaly_map', 'embeddings'];
      const outputs = [...names, 'nearest_index', 'nearest_distance'];
      const response = await infer(client, u8(image, { outputs }));
      const expected = await scored(image, {
        options: {
          ...{ patchScores: true, embeddings: true, nearestPrototypes: 3 },
          anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32,
        } as never,
      });
      const { aggregate, patches } = expected;
      const cells = Array.from({ length: 64 }, (_, cell) => patches.get(cell)!);
      assert.deepEqual(
        response.outputs.map(({ name }) => name),
        outputs,
      );
      assert.deepEqual(numbers(response, 'threshold'), [aggregate.threshold]);
      assert.deepEqual(
        numbers(response, 'patch_z'),
        cells.map(({ robustZ }) => robustZ),
      );
      assert.deepEqual(
        numbers(response, 'patch_p_values'),
        cells.map(({ pValue }) => pValue),
      );
      assert.deepEqual(numbers(response, 'coverage'), [64, 0, 0, 0]);
      assert.deepEqual(
        numbers(response, 'embeddings'),
        cells.flatMap(({ embedding }) => embedding),
      );
      assert.deepEqual(shapeOf(response, 'embeddings'), [1, 8, 8, 16]);
      const nearest = cells.flatMap(({ nearestPrototypes }) => nearestPrototypes);
      assert.deepEqual(
        numbers(response, 'nearest_index'),
        nearest.map(({ index }) => index),
      );
      assert.deepEqual(
        numbers(response, 'nearest_distance'),
        nearest.map(({ distance }) => distance),
      );
      const { rows, columns, data } = aggregate.anomalyMap!;
      assert.deepEqual(shapeOf(response, 'anomaly_map'), [1, rows, columns]);
      assert.deepEqual(
        Buffer.from(response.rawOutputContents[outputs.indexOf('anomaly_map')]!),
        Buffer.from(data),
      );
      const overlay = await infer(client, u8(image, { outputs: ['overlay_png'] }));
      const { width, height } = await sharp(texts(overlay, 'overlay_png')[0]!).metadata();
      assert.deepEqual([height, width], [rows, columns]);
    });

    it('scores DICOM files, and names a frame where there are several', async () => {
      const one = { rows: SIDE, columns: SIDE, bitsStored: 12, cells: testCells(SIDE, SIDE, 12) };
      const asFile = (file: Uint8Array, frame?: number) =>
        infer(client, {
          ...{ model: 'small', version: '1', outputs: ['patch_scores'] },
          inputs: [{ datatype: 'BYTES', shape: [1], data: bytesData([file]) }],
          parameters: frame === undefined ? {} : { frame: BigInt(frame) },
        });
      const file = await dicomFile(one);
      const header = AcquisitionHeader.fromPartial({
        acquisitionId: 'a',
        model: { name: 'small', version: 1 },
      });
      const plain = await collect(
        serving.client.scoreImage({ header, image: { $case: 'encoded', value: file }, frame: undefined }),
      );
      const cells = Uint16Array.from([...one.cells.map((value) => 4095 - value), ...one.cells]);
      const two = await dicomFile({ ...one, cells, frames: 2 });
      assert.deepEqual(numbers(await asFile(two, 2), 'patch_scores'), patchScores(plain));
      assert.deepEqual((await refusal(asFile(two))).fields, ['parameters.frame']);
      assert.deepEqual((await refusal(asFile(two, 3))).fields, ['parameters.frame']);
    });

    it('says what a reader must know: NaN for background, and the warnings of each image', async () => {
      const blank = new Uint8Array(PIXELS).fill(90);
      const response = await infer(client, { ...u8(Buffer.concat([image, blank])), model: 'flat' });
      assert.deepEqual(texts(response, 'decision').map(String).at(-1), 'INDETERMINATE');
      const scores = numbers(response, 'patch_scores');
      assert.ok(scores.slice(0, 64).every(Number.isFinite) && scores.slice(64).every(Number.isNaN));
      const [first, second] = JSON.parse(textParameter(response, 'warnings') ?? '') as { kind: string }[][];
      assert.deepEqual([first?.length, second?.map(({ kind }) => kind)], [0, ['nothingScored']]);
    });
  });

  describe('the view `classify`', () => {
    it('puts the larger score at the decision, and gives labels instead where they are asked for', async () => {
      const blank = new Uint8Array(PIXELS).fill(90);
      const data = Buffer.concat([image, blank]);
      const whole = await infer(client, {
        ...u8(data, { outputs: ['image_score', 'threshold'] }),
        model: 'flat',
      });
      const scores = await infer(client, { ...u8(data), model: 'flat.classify' });
      const [threshold] = numbers(whole, 'threshold');
      const [imageScore] = numbers(whole, 'image_score');
      assert.deepEqual(numbers(scores, 'score'), [
        ...[threshold, imageScore].map((value) => Math.fround(value!)),
        ...[Number.NaN, Number.NaN],
      ]);
      const labels = await infer(client, {
        ...u8(data, { outputs: [{ name: 'score', classification: 1 }] }),
        model: 'flat.classify',
      });
      assert.deepEqual(shapeOf(labels, 'score'), [2, 1]);
      assert.deepEqual(texts(labels, 'score').map(String), [
        `${Math.fround(threshold!).toFixed(6)}:0:normal`,
        'NaN:0:indeterminate',
      ]);
    });

    it('takes images of the working size only', async () => {
      const data = randomImage(1, 32, 64);
      const wrong = infer(client, {
        model: 'small.classify',
        inputs: [{ datatype: 'UINT8', shape: [1, 32, 64, 1], data }],
      });
      assert.deepEqual((await refusal(wrong)).fields, ['inputs.image.shape']);
    });
  });

  describe('the view `tiles`', () => {
    /** Tiles of the image with their halo, reflected at the border, as the engine gets them. */
    const cut = (row: number, column: number) => {
      const tile = new Uint8Array(24 * 24);
      const at = (position: number) => {
        const mirrored = position < 0 ? -position : position;
        return mirrored > 63 ? 126 - mirrored : mirrored;
      };
      for (let y = 0; y < 24; y++) {
        for (let x = 0; x < 24; x++) {
          tile[24 * y + x] = image[64 * at(16 * row - 4 + y) + at(16 * column - 4 + x)]!;
        }
      }
      return tile;
    };

    it('scores tiles as the image that they were cut from', async () => {
      const positions = [
        [3, 1],
        [0, 0],
        [2, 3],
      ] as const;
      const tiles = Buffer.concat(positions.map(([row, column]) => cut(row, column)));
      const unit = Float32Array.from(tiles, (value) => value / 255);
      for (const [datatype, data] of [
        ['UINT8', tiles],
        ['FP32', bytesOf(unit)],
      ] as const) {
        const response = await infer(client, {
          ...{ model: 'small.tiles', version: '1' },
          inputs: [
            {
              name: 'position',
              datatype: 'INT32',
              shape: [3, 2],
              data: bytesOf(Int32Array.from(positions.flat())),
            },
            { name: 'tile', datatype, shape: [3, 24, 24, 1], data },
          ],
        });
        assert.deepEqual(shapeOf(response, 'patch_scores'), [3, 4]);
        const scores = numbers(response, 'patch_scores');
        for (const [index, [row, column]] of positions.entries()) {
          for (let within = 0; within < 4; within++) {
            const cell = (2 * row + Math.floor(within / 2)) * 8 + 2 * column + (within % 2);
            const difference = Math.abs(scores[4 * index + within]! - serving.expected.get(cell)!);
            assert.ok(difference <= 1e-6, `${datatype} tile ${index}, patch ${within}: ${difference}`);
          }
        }
      }
    });

    it('refuses positions outside of the grid', async () => {
      const outside = infer(client, {
        model: 'small.tiles',
        inputs: [
          { name: 'tile', datatype: 'UINT8', shape: [1, 24, 24, 1], data: cut(0, 0) },
          { name: 'position', datatype: 'INT32', shape: [1, 2], data: bytesOf(Int32Array.of(4, 0)) },
        ],
      });
      const { code, reason } = await refusal(outside);
      assert.deepEqual([code, reason], [status.INVALID_ARGUMENT, 'TILE_OUT_OF_GRID']);
    });
  });
});
