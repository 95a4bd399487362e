/** Typed contents, of which a decoder that makes number objects takes many times the message's size. */
import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { answerBytes } from '../../src/acquisition/answer-bytes.js';
import { acquisitionBytes } from '../../src/acquisition/footprint.js';
import type { AcquisitionOptions } from '../../src/acquisition/types.js';
import { readBundle } from '../../src/bundle/bundle.js';
import {
  type GRPCInferenceServiceClient,
  ModelInferRequest,
  ModelInferResponse,
} from '../../src/gen/inference/grpc_service.js';
import { defaultPixelFormat } from '../../src/imaging/pixel-format/pixel-format.js';
import { allowedBytes } from '../support/measurements/memory-formula.js';
import { peakRssBytes, settledRssBytes } from '../support/measurements/process-memory.js';
import { type ServeProcess, startServe } from '../support/programs/salad.js';
import { refusal } from '../support/protocol/grpc-client.js';
import { connectInference, inferRequest, numbers } from '../support/protocol/open-inference.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

const MIB = 1024 * 1024;
const MESSAGE_BYTES = 60_000_000;
/** One message of typed contents costs no more, whatever its type. */
const MESSAGE_COST_MAX = 500_000_000;
const RECEIVE_WINDOW_BYTES = 4 * MIB;
const COLUMNS = 6000;

interface Case {
  readonly datatype: string;
  /** Field of InferTensorContents. */
  readonly field: number;
  /** One element. */
  readonly element: readonly number[];
  readonly bytesPerElement: number;
}

const CASES: Readonly<Record<string, Case>> = {
  'UINT8, one byte an element': { datatype: 'UINT8', field: 4, element: [100], bytesPerElement: 1 },
  'UINT16, one byte an element': { datatype: 'UINT16', field: 4, element: [100], bytesPerElement: 2 },
  'INT16, negative, ten bytes an element': {
    ...{ datatype: 'INT16', field: 2, bytesPerElement: 2 },
    element: [0x9c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  },
  'FP32, four bytes an element': { datatype: 'FP32', field: 6, element: [0, 0, 0, 0x3f], bytesPerElement: 6 },
};

describe('a message of typed contents', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let client: GRPCInferenceServiceClient;

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());

  /** A server that has scored once. */
  const start = async () => {
    server = await startServe('--models', models.path, '--engine', 'onnx', '--workers', '1');
    client = connectInference(server.address);
    await send(encoded('small', CASES['UINT8, one byte an element']!, 64 * 64, [1, 64, 64, 1]));
    return settledRssBytes(server.process.pid!);
  };
  const stop = async () => {
    client.close();
    await server.stop();
  };
  const send = (bytes: Buffer): Promise<ModelInferResponse> =>
    new Promise((resolve, reject) => {
      const path = '/inference.GRPCInferenceService/ModelInfer';
      client.makeUnaryRequest(
        path,
        (value: Buffer) => value,
        (value: Buffer) => ModelInferResponse.decode(value),
        bytes,
        (error, response) => (error === null && response ? resolve(response) : reject(error as Error)),
      );
    });

  for (const [name, one] of Object.entries(CASES)) {
    it(`costs at most half a gigabyte: ${name}`, async () => {
      const idle = await start();
      try {
        const rows = Math.floor(MESSAGE_BYTES / one.element.length / COLUMNS);
        const message = encoded('small', one, rows * COLUMNS, [1, rows, COLUMNS, 1]);
        let scored = 0;
        const peak = await peakRssBytes(server.process.pid!, async () => {
          scored = numbers(await send(message), 'image_score').length;
        });
        assert.equal(scored, 1);
        const grown = peak - idle;
        const allowed = await allowedFor(models, rows, one);
        console.log(
          `      ${(message.length / 1e6).toFixed(0)} MB: ${(grown / 1e6).toFixed(0)} MB above idle, the formula allows ${(allowed / 1e6).toFixed(0)} MB`,
        );
        assert.ok(grown < allowed && grown < MESSAGE_COST_MAX, `${grown} bytes`);
      } finally {
        await stop();
      }
    });
  }

  it('costs little more than itself where it is refused', async () => {
    const idle = await start();
    try {
      const message = encoded('nothing', CASES['UINT8, one byte an element']!, MESSAGE_BYTES, [
        1,
        10_000,
        COLUMNS,
        1,
      ]);
      let code: number | undefined;
      const peak = await peakRssBytes(server.process.pid!, async () => {
        ({ code } = await refusal(send(message)));
      });
      assert.equal(code, status.NOT_FOUND);
      console.log(`      ${((peak - idle) / 1e6).toFixed(0)} MB above idle`);
      assert.ok(peak - idle < 250_000_000, `${peak - idle} bytes`);
    } finally {
      await stop();
    }
  });
});

/** By the formula of docs/explanation/memory.md. */
async function allowedFor({ path }: ModelsFolder, rows: number, one: Case): Promise<number> {
  const bundle = await readBundle(`${path}/small/1`);
  const format = defaultPixelFormat(rows, COLUMNS, one.datatype === 'UINT8' ? 8 : 16);
  const options: AcquisitionOptions = {
    ...{ patchScores: true, embeddings: false, nearestPrototypes: 0, topPatches: 0 },
    ...{ anomalyMap: 'none', earlyEnd: 'fail', maxFalsePositiveRate: 0.05 },
  };
  const acquisition =
    acquisitionBytes(bundle, { format, source: 'rows', options }) + answerBytes(bundle, { format, options });
  const tensors = rows * COLUMNS * one.bytesPerElement;
  return allowedBytes({
    ...{ connections: 1, calls: 1, received: MESSAGE_BYTES + RECEIVE_WINDOW_BYTES },
    reserved: acquisition + tensors,
  });
}

/** A request with one image, whose elements are all the same. */
function encoded(
  modelName: string,
  { datatype, field, element }: Case,
  count: number,
  shape: number[],
): Buffer {
  const elements = Buffer.alloc(count * element.length).fill(Buffer.from(element));
  const contents = Buffer.concat([prefix(field, elements.length), elements]);
  const base = inferRequest({ model: modelName, inputs: [{ datatype, shape, data: Buffer.alloc(0) }] });
  const [input] = base.inputs;
  const whole = Buffer.from(ModelInferRequest.encode({ ...base, inputs: [], rawInputContents: [] }).finish());
  const tensor = Buffer.from(
    ModelInferRequest.encode({ ...base, modelName: '', rawInputContents: [], inputs: [input!] }).finish(),
  );
  // Behind the tag and the length of the input, which is a short message.
  const body = Buffer.concat([tensor.subarray(2), prefix(5, contents.length), contents]);
  return Buffer.concat([whole, prefix(5, body.length), body]);
}

/** Tag and length of a length-delimited field. */
function prefix(field: number, length: number): Buffer {
  const bytes: number[] = [];
  for (const value of [8 * field + 2, length]) {
    let left = value;
    for (; left >= 0x80; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80);
    bytes.push(left);
  }
  return Buffer.from(bytes);
}
