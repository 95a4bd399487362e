/** The Open Inference Protocol: what is refused and how, streams, metadata, cancellation. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ServiceError, status } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import {
  type GRPCInferenceServiceClient,
  InferTensorContents,
  ModelInferRequest,
  type ModelStreamInferResponse,
} from '../../src/gen/inference/grpc_service.js';
import { refusal } from '../support/protocol/grpc-client.js';
import {
  bytesData,
  bytesOf,
  call,
  connectInference,
  type InferOptions,
  infer,
  inferRequest,
  numbers,
  parameter,
  textParameter,
} from '../support/protocol/open-inference.js';
import { image, randomImage, type Serving, startServing } from '../support/servers/serving.js';

const SIDE = 64;
const PIXELS = SIDE * SIDE;

const whole = (changes: Partial<InferOptions> = {}, data: Uint8Array = image): InferOptions => ({
  model: 'small',
  inputs: [{ datatype: 'UINT8', shape: [data.length / PIXELS, SIDE, SIDE, 1], data }],
  ...changes,
});
const input = (datatype: string, shape: readonly number[], data: Uint8Array) =>
  whole({ inputs: [{ datatype, shape, data }] });

describe('calls of the Open Inference Protocol', function () {
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

  describe('refuses', () => {
    const floats = new Float32Array(PIXELS).fill(0.5);
    floats[77] = 1.01;
    const missing = inferRequest(whole());
    missing.inputs = [];
    missing.rawInputContents = [];
    const cases: Readonly<
      Record<string, readonly [InferOptions | ModelInferRequest, string, string | undefined, RegExp]>
    > = {
      'an unknown model, in the words of Triton': [
        whole({ model: 'nothing' }),
        ...(['MODEL_NOT_FOUND', undefined, /^Request for unknown model: 'nothing' is not found$/] as const),
      ],
      'an unknown version': [
        whole({ version: '7' }),
        ...([
          'MODEL_NOT_FOUND',
          undefined,
          /^Request for unknown model: 'small' version 7 is not found$/,
        ] as const),
      ],
      'a version that is no number': [
        whole({ version: 'latest' }),
        ...(['PARAMETER_INVALID', 'model_version', /version string 'latest'/] as const),
      ],
      'an unknown parameter': [
        whole({ parameters: { window_centre: 40 } }),
        ...(['PARAMETER_INVALID', 'parameters.window_centre', /is unknown; known: .*window_center/] as const),
      ],
      'a parameter of another type': [
        whole({ parameters: { window_center: 'wide', window_width: 4 } }),
        ...(['PARAMETER_INVALID', 'parameters.window_center', /must be a number/] as const),
      ],
      'a number that is none': [
        whole({ parameters: { window_center: true, window_width: 4 } }),
        ...(['PARAMETER_INVALID', 'parameters.window_center', /must be a number/] as const),
      ],
      'samples that need more than the stored bits': [
        whole({ parameters: { bits_stored: 4n } }),
        ...([
          'PARAMETER_INVALID',
          'parameters.bits_stored',
          /^parameters.bits_stored: is 4, and sample \d+ is \d+: it needs more bits$/,
        ] as const),
      ],
      'half a window': [
        whole({ parameters: { window_width: 40 } }),
        ...(['PARAMETER_INVALID', 'parameters.window_center', /is missing/] as const),
      ],
      'a window of no width': [
        whole({ parameters: { window_center: 40, window_width: 0 } }),
        ...(['HEADER_INVALID', 'parameters.window_width', /window_width/] as const),
      ],
      sequences: [
        whole({ parameters: { sequence_id: 4n } }),
        ...(['PARAMETER_INVALID', 'parameters.sequence_id', /no model keeps a state/] as const),
      ],
      'a window for tiles': [
        whole({ model: 'small.tiles', parameters: { window_center: 1 } }),
        ...([
          'PARAMETER_INVALID',
          'parameters.window_center',
          /is unknown; known: priority, timeout/,
        ] as const),
      ],
      'an unknown input': [
        whole({ inputs: [{ name: 'pixels', datatype: 'UINT8', shape: [SIDE, SIDE], data: image }] }),
        ...(['TENSOR_INVALID', 'inputs', /unexpected inference input 'pixels' for model 'small'/] as const),
      ],
      'no input': [
        missing,
        ...(['TENSOR_INVALID', 'inputs', /expected 1 inputs but got 0 inputs for model 'small'/] as const),
      ],
      'an unknown output': [
        whole({ outputs: ['scores'] }),
        ...(['TENSOR_INVALID', 'outputs', /unexpected inference output 'scores' for model 'small'/] as const),
      ],
      'both forms of the map': [
        whole({ outputs: ['anomaly_map', 'overlay_png'] }),
        ...(['TENSOR_INVALID', 'outputs', /need two requests/] as const),
      ],
      'a type that no image has': [
        input('INT64', [SIDE, SIDE], new Uint8Array(8 * PIXELS)),
        ...([
          'TENSOR_INVALID',
          'inputs.image.datatype',
          /data-type is 'INT64', but model 'small' expects UINT8/,
        ] as const),
      ],
      colour: [
        input('UINT8', [1, SIDE, SIDE, 3], new Uint8Array(3 * PIXELS)),
        ...(['TENSOR_INVALID', 'inputs.image.shape', /Expected \[N,H,W,1\].*got \[1,64,64,3\]/] as const),
      ],
      'a size below 1': [
        input('UINT8', [1, -1, SIDE, 1], image),
        ...(['TENSOR_INVALID', 'inputs.image.shape', /got \[1,-1,64,1\]/] as const),
      ],
      'too large a batch': [
        input('UINT8', [65, 1, 1, 1], new Uint8Array(65)),
        ...(['TENSOR_INVALID', 'inputs.image.shape', /batch-size must be <= 64 for 'small'/] as const),
      ],
      'fewer bytes than the shape says': [
        input('UINT8', [SIDE, SIDE], image.subarray(1)),
        ...([
          'SAMPLE_COUNT_MISMATCH',
          'raw_input_contents',
          /unexpected total byte size 4095.*expecting 4096/,
        ] as const),
      ],
      'FP32 above 1': [
        input('FP32', [SIDE, SIDE], bytesOf(floats)),
        ...(['SAMPLE_INVALID', 'inputs.image', /must be in \[0, 1\], is 1.00999/] as const),
      ],
      'an image above the limit of pixels': [
        input('UINT8', [1, 1001, 1000, 1], new Uint8Array(8)),
        ...(['IMAGE_TOO_LARGE', undefined, /1000000 pixels/] as const),
      ],
      'a file that is none': [
        input('BYTES', [1], bytesData([Buffer.from('no image')])),
        ...(['IMAGE_UNREADABLE', 'inputs.image', /inputs.image/] as const),
      ],
      'a length that leads behind the end': [
        input('BYTES', [1], Buffer.from([9, 0, 0, 0, 1])),
        ...(['SAMPLE_COUNT_MISMATCH', 'raw_input_contents', /must be 1 elements/] as const),
      ],
    };
    for (const [name, [request, reason, field, message]] of Object.entries(cases)) {
      it(name, async () => {
        const answer = infer(client, request);
        answer.catch(() => undefined);
        const refused = await refusal(answer);
        const { details } = (await answer.catch((error: unknown) => error)) as ServiceError;
        assert.deepEqual(
          [refused.reason, refused.fields],
          [reason, field === undefined ? [] : [field]],
          details,
        );
        assert.match(details, message);
      });
    }

    it('names the image of a batch that fails, and no other is answered', async () => {
      const two = input('BYTES', [2], bytesData([Buffer.from('a'), Buffer.from('b')]));
      assert.match(
        ((await infer(client, two).catch((error: unknown) => error)) as ServiceError).details,
        /^image 0: /,
      );
    });

    it('shared memory, by parameters and by methods', async () => {
      const request = inferRequest(whole());
      request.inputs[0]!.parameters = { shared_memory_region: parameter('region') };
      assert.deepEqual((await refusal(infer(client, request))).fields, [
        'inputs.image.parameters.shared_memory_region',
      ]);
      const unknown = new Promise((_, reject) => {
        const path = '/inference.GRPCInferenceService/SystemSharedMemoryStatus';
        const encode = () => Buffer.alloc(0);
        client.makeUnaryRequest(path, encode, encode, {}, (error) => reject(error));
      });
      const { code, reason } = await refusal(unknown);
      assert.deepEqual([code, reason], [status.UNIMPLEMENTED, 'UNIMPLEMENTED']);
    });
  });

  describe('typed contents', () => {
    /** A request without raw contents. */
    const typed = (datatype: string, contents: Partial<InferTensorContents>, shape = [SIDE, SIDE]) =>
      ModelInferRequest.fromPartial({
        modelName: 'small',
        inputs: [{ name: 'image', datatype, shape: shape.map(BigInt), contents }],
      });

    it('give the scores of raw contents, for every type', async () => {
      const pixels = [...image];
      const signed = Int16Array.from(image, (value) => 8 * value - 1000);
      const raw = await infer(client, whole());
      const rawSigned = await infer(client, input('INT16', [SIDE, SIDE], bytesOf(signed)));
      for (const [request, expected] of [
        [typed('UINT8', { uintContents: pixels }), raw],
        [typed('UINT16', { uintContents: pixels.map((value) => 257 * value) }), raw],
        [typed('INT16', { intContents: [...signed] }), rawSigned],
        [typed('FP32', { fp32Contents: pixels.map((value) => value / 255) }), raw],
      ] as const) {
        const response = await infer(client, request);
        assert.deepEqual(numbers(response, 'patch_scores'), numbers(expected, 'patch_scores'));
      }
    });

    it('are refused where they do not fit the tensor', async () => {
      const pixels = [...image];
      for (const [request, reason, message] of [
        [
          typed('UINT8', { uintContents: pixels.slice(1) }),
          'SAMPLE_COUNT_MISMATCH',
          /fewer than the 4096 elements/,
        ],
        [
          typed('UINT8', { uintContents: [...pixels, 1] }),
          'SAMPLE_COUNT_MISMATCH',
          /more than the 4096 elements/,
        ],
        [
          typed('UINT8', { uintContents: [256, ...pixels.slice(1)] }),
          'TENSOR_INVALID',
          /256 is no value of UINT8/,
        ],
        [
          typed('INT16', { intContents: [-32_769, ...pixels.slice(1)] }),
          'TENSOR_INVALID',
          /no value of INT16/,
        ],
        [
          typed('UINT8', { intContents: pixels }),
          'TENSOR_INVALID',
          /must be in uint_contents, not in int_contents/,
        ],
        [typed('UINT8', {}), 'SAMPLE_COUNT_MISMATCH', /fewer/],
      ] as const) {
        const answer = infer(client, request);
        answer.catch(() => undefined);
        assert.equal((await refusal(answer)).reason, reason);
        assert.match(((await answer.catch((error: unknown) => error)) as ServiceError).details, message);
      }
      const both = inferRequest(whole());
      both.inputs[0]!.contents = InferTensorContents.fromPartial({ uintContents: pixels });
      assert.equal((await refusal(infer(client, both))).reason, 'TENSOR_INVALID');
    });
  });

  describe('ModelStreamInfer', () => {
    const open = () => {
      const stream = client.modelStreamInfer();
      const answers: ModelStreamInferResponse[] = [];
      stream.on('data', (answer: ModelStreamInferResponse) => answers.push(answer));
      return { stream, answers };
    };

    it('answers in the order of the requests, errors too, and goes on', async () => {
      const { stream, answers } = open();
      const images = Array.from({ length: 20 }, (_, seed) => randomImage(seed + 1));
      for (const [index, each] of images.entries()) {
        const model = index === 7 ? 'nothing' : 'small';
        stream.write(inferRequest(whole({ id: `${index}`, model }, each)));
      }
      stream.end();
      await once(stream, 'end');
      assert.deepEqual(
        answers.map(({ inferResponse }) => inferResponse?.id),
        images.map((_, index) => `${index}`),
      );
      for (const [index, { errorMessage, inferResponse }] of answers.entries()) {
        if (index === 7) {
          assert.equal(errorMessage, "Request for unknown model: 'nothing' is not found");
          continue;
        }
        assert.equal(errorMessage, '');
        const alone = await infer(client, whole({}, images[index]!));
        assert.deepEqual(numbers(inferResponse!, 'patch_scores'), numbers(alone, 'patch_scores'));
      }
    });

    it('marks the only answer to a request where the client wants to know', async () => {
      const { stream, answers } = open();
      stream.write(inferRequest(whole()));
      stream.write(inferRequest(whole({ parameters: { triton_enable_empty_final_response: true } })));
      stream.end();
      await once(stream, 'end');
      assert.deepEqual(
        answers.map(({ inferResponse }) => inferResponse?.parameters['triton_final_response']),
        [undefined, parameter(true)],
      );
    });
  });

  describe('metadata', () => {
    const named = (name: string, version = '') => ({ name, version });

    it('say that the server and its models are there', async () => {
      assert.deepEqual(await call(client, client.serverLive, {}), { live: true });
      assert.deepEqual(await call(client, client.serverReady, {}), { ready: true });
      for (const [name, version, ready] of [
        ['small', '', true],
        ['small.tiles', '2', true],
        ['small', '3', false],
        ['nothing', '', false],
      ] as const) {
        assert.deepEqual(await call(client, client.modelReady, named(name, version)), { ready });
      }
      const { name, extensions } = await call(client, client.serverMetadata, {});
      assert.equal(name, 'salad-serve');
      assert.ok(extensions.includes('statistics'));
    });

    it('describe the tensors of each view', async () => {
      const tensors = async (model: string) => {
        const { inputs, outputs, versions } = await call(client, client.modelMetadata, named(model));
        assert.deepEqual(versions, ['1', '2']);
        return [...inputs, ...outputs].map(
          ({ name, datatype, shape }) => `${name} ${datatype} ${shape.join(',')}`,
        );
      };
      assert.deepEqual(await tensors('small'), [
        ...['image UINT8 -1,-1,-1,1', 'image_score FP64 -1,1', 'p_value FP64 -1,1', 'decision BYTES -1,1'],
        'patch_scores FP32 -1,8,8',
      ]);
      assert.deepEqual(await tensors('small.tiles'), [
        ...['tile UINT8 -1,24,24,1', 'position INT32 -1,2', 'patch_scores FP32 -1,4'],
      ]);
      assert.deepEqual(await tensors('small.classify'), ['image UINT8 -1,64,64,1', 'score FP32 -1,2']);
      const { config } = await call(client, client.modelConfig, named('small.classify'));
      assert.deepEqual([config?.maxBatchSize, config?.input[0]?.dims], [64, [64n, 64n, 1n]]);
      assert.equal(
        (await refusal(call(client, client.modelConfig, named('nothing')))).code,
        status.NOT_FOUND,
      );
    });

    it('list every model, and refuse to change them', async () => {
      const { models } = await call(client, client.repositoryIndex, { repositoryName: '', ready: true });
      const names = models.filter(({ version }) => version === '1').map(({ name }) => name);
      assert.deepEqual(names.slice(0, 3), ['flat', 'flat.tiles', 'flat.classify']);
      assert.equal(names.length, 9);
    });

    it('count requests and their times', async () => {
      const read = async () => {
        const { modelStats } = await call(client, client.modelStatistics, named('stretched', '1'));
        return modelStats[0]!;
      };
      const before = await read();
      await infer(client, whole({ model: 'stretched' }, Buffer.concat([image, image])));
      await refusal(infer(client, whole({ model: 'stretched', outputs: ['nothing'] })));
      const { inferenceStats, ...counts } = await read();
      assert.equal(counts.inferenceCount - before.inferenceCount, 2n);
      assert.equal(counts.executionCount - before.executionCount, 1n);
      assert.equal(inferenceStats!.fail!.count - before.inferenceStats!.fail!.count, 1n);
      assert.deepEqual(
        counts.batchStats.map(({ batchSize }) => batchSize),
        [2n],
      );
      const { success, queue, computeInput, computeInfer, computeOutput } = inferenceStats!;
      const parts = [queue, computeInput, computeInfer, computeOutput].map((part) => Number(part!.ns));
      assert.ok(parts.every((ns) => ns >= 0));
      assert.ok(Math.abs(parts.reduce((a, b) => a + b) - Number(success!.ns)) < 10);
    });
  });

  it('ends at the timeout of a request, and at its deadline', async () => {
    const batch = Buffer.concat(Array.from({ length: 64 }, (_, seed) => randomImage(seed)));
    const late = refusal(infer(client, whole({ parameters: { timeout: 1n } }, batch)));
    assert.equal((await late).reason, 'DEADLINE_EXCEEDED');
    const { code } = await refusal(infer(client, whole({}, batch), { deadline: Date.now() + 5 }));
    assert.equal(code, status.DEADLINE_EXCEEDED);
    assert.equal(
      textParameter(await infer(client, whole({ parameters: { timeout: 10_000_000n } })), 'engine'),
      'onnx',
    );
  });
});
