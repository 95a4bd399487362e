/** Clients of the Open Inference Protocol that know nothing of this project, unmodified, against a real server. */
import assert from 'node:assert/strict';
import { type ExecFileOptions, execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import {
  type AcquisitionEvent,
  SaladClient,
  Source,
  VoiFunction,
} from '../../clients/typescript/src/index.js';
import { FILE_DESCRIPTOR_SET } from '../../src/gen/descriptors.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import type { RunningServer } from '../../src/server/server.js';
import { root } from '../support/root.js';
import { startSmall } from '../support/servers/small-server.js';

const execute = promisify(execFile);
const programs = join(root, 'test/slow/open-inference');
const MODEL = 'phantom';
const [ROWS, COLUMNS] = [512, 512] as const;

interface Tools {
  inferenceClients(): string;
  ghz(): string;
  perfAnalyzer(): { readonly program: string; readonly env: NodeJS.ProcessEnv };
}

interface Summary {
  readonly step: string;
  readonly id: string;
  readonly imageScore: number;
  readonly pValue: number;
  readonly decision: string;
  readonly scores: readonly (number | null)[];
  readonly engine: string;
  readonly bundle: string;
  readonly error: string;
}

describe('clients of the Open Inference Protocol', function () {
  // Packages are installed, and programs built, the first time.
  this.timeout(600_000);
  const folder = mkdtempSync(join(tmpdir(), 'salad-open-inference-'));
  const [samples, png] = [join(folder, 'samples'), join(folder, 'image.png')];
  /** Eight bits: Pillow, which image clients use, cuts off what is above 255. */
  const picture = join(folder, 'picture.png');
  let tools: Tools;
  let python: string;
  let server: RunningServer;
  let expected: Summary;

  /** What a program printed; where it failed, that is the message. The server lives in this process. */
  const run = async (command: string, args: readonly string[], options: ExecFileOptions = {}) => {
    try {
      const { stdout } = await execute(command, args, { maxBuffer: 1e8, ...options, encoding: 'utf8' });
      return stdout;
    } catch (error) {
      const { message, stdout, stderr } = error as Error & { stdout: string; stderr: string };
      throw new Error(`${message}\n${stdout}\n${stderr}`);
    }
  };
  /** Runs one of the Python programs. NaN, which Python prints as such, becomes null. */
  const runPython = async (name: string, ...args: readonly string[]) => {
    const printed = await run(python, [join(programs, `${name}.py`), ...args]);
    return printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line.replaceAll('NaN', 'null')) as unknown);
  };
  const byStep = (lines: readonly unknown[]) =>
    new Map(lines.map((line) => [(line as Summary).step, line as Summary & Record<string, unknown>]));
  const assertScored = (summary: Summary | undefined, fields: readonly (keyof Summary)[]) => {
    assert.ok(summary !== undefined);
    for (const field of fields) assert.deepEqual(summary[field], expected[field], field);
  };

  before(async () => {
    tools = (await import(join(root, 'scripts/clients/open-inference.mjs'))) as Tools;
    python = tools.inferenceClients();
    cpSync(join(root, 'models', MODEL), join(folder, 'models', MODEL), { recursive: true });
    server = await startSmall(join(folder, 'models'), { maxQueueMs: 600_000, overloadQueueRatio: 0 });
    const { samples: values } = makePhantom({ seed: 11, size: ROWS, lesion: 'consolidation' });
    const bytes = new Uint8Array(Uint16Array.from(values).buffer);
    writeFileSync(samples, bytes);
    const raw = { width: COLUMNS, height: ROWS, channels: 1 } as const;
    await sharp(Uint16Array.from(values), { raw }).toColourspace('grey16').png().toFile(png);
    const grey = Uint8Array.from(values, (value) => value >> 4);
    await sharp(grey, { raw }).toColourspace('b-w').png().toFile(picture);
    expected = await scoreWithSalad(server.address, bytes);
  });
  after(async () => {
    await server.stop(0);
    rmSync(folder, { recursive: true });
  });

  it('have the same text of the protocol, field by field', async () => {
    const set = join(folder, 'descriptors.binpb');
    writeFileSync(set, Buffer.from(FILE_DESCRIPTOR_SET, 'base64'));
    for (const [client, extra] of [
      [
        'tritonclient',
        ['.inference.ModelMetadataResponse.PropertiesEntry', '.inference.ModelMetadataResponse.properties'],
      ],
      ['kserve', undefined],
    ] as const) {
      const [result] = (await runPython('descriptors', client, set)) as [
        { compared: number; extra: string[]; differences: string[] },
      ];
      assert.deepEqual(result.differences, [], client);
      assert.ok(result.compared > 60, `${client}: ${result.compared}`);
      if (extra !== undefined) assert.deepEqual(result.extra.sort(), extra);
    }
  });

  it('tritonclient, blocking: scores as ScoreImage does, metadata, errors, stream', async () => {
    const steps = byStep(
      await runPython('triton_client', server.address, MODEL, samples, `${ROWS}`, `${COLUMNS}`, png),
    );
    const all = ['imageScore', 'pValue', 'decision', 'scores', 'engine', 'bundle'] as const;
    for (const step of ['sync', 'file', 'compressed', 'async']) assertScored(steps.get(step), all);
    assert.equal(steps.get('sync')?.id, 'one');
    assert.equal(steps.get('async')?.error, 'None');
    const { step: _step, ...metadata } = steps.get('metadata')!;
    assert.deepEqual(metadata, {
      ...{ live: true, ready: true, unknown: false, server: 'salad-serve', inputs: ['image'] },
      ...{ maxBatchSize: 64, index: [MODEL, `${MODEL}.tiles`, `${MODEL}.classify`], statistics: 1 },
    });
    for (const [step, status, message] of [
      ['unknown', 'StatusCode.NOT_FOUND', /^Request for unknown model: 'nothing' is not found$/],
      ['parameter', 'StatusCode.INVALID_ARGUMENT', /^parameters\.window_centre: is unknown/],
      ['memory', 'StatusCode.UNIMPLEMENTED', /./],
      ['load', 'StatusCode.PERMISSION_DENIED', /./],
    ] as const) {
      assert.equal(steps.get(step)?.['status'], status);
      assert.match(String(steps.get(step)?.['message']), message);
    }
    const results = steps.get('stream')?.['results'] as readonly Summary[];
    assert.deepEqual(
      results.map(({ id, error }) => id ?? error),
      ['0', '1', '2', "Request for unknown model: 'nothing' is not found", '4'],
    );
    for (const index of [0, 1, 2, 4]) assertScored(results[index], all);
    for (const step of ['aio', 'aio stream']) {
      const answers = steps.get(step)?.['results'] as readonly Summary[];
      assert.equal(answers.length, step === 'aio' ? 4 : 3);
      for (const answer of answers) assertScored(answer, all);
    }
  });

  it('image clients, which know only the name of a model', async () => {
    const decisions = new Set<string>();
    for (const mode of ['sync', 'async', 'stream']) {
      const [labels] = (await runPython(
        'image_client',
        server.address,
        `${MODEL}.classify`,
        picture,
        mode,
        '2',
        '3',
      )) as [string[][]];
      assert.equal(labels.length, 3);
      for (const image of labels) {
        assert.match(image.join(' '), /^-?[\d.]+:[01]:(normal|anomalous) -?[\d.]+:[01]:(normal|anomalous)$/);
        decisions.add(image.join(' '));
      }
      const [stubs] = (await runPython(
        'grpc_image_client',
        server.address,
        `${MODEL}.classify`,
        picture,
        mode,
      )) as [string[][]];
      assert.ok(stubs.length > 0);
      for (const image of stubs) decisions.add(image.join(' '));
    }
    assert.equal(decisions.size, 1, 'every way gives the same');
  });

  it("KServe's client, with raw and with typed contents", async () => {
    const steps = byStep(
      await runPython('kserve_client', server.address, MODEL, samples, `${ROWS}`, `${COLUMNS}`, png),
    );
    assert.equal(steps.get('ready')?.['ready'], true);
    for (const step of ['raw', 'typed', 'signed', 'file']) {
      assertScored(steps.get(step), ['imageScore', 'scores']);
      assert.equal(steps.get(step)?.id, step);
    }
  });

  it('grpcurl, which knows what server reflection says', async () => {
    const program = (await run(process.execPath, [join(root, 'scripts/grpcurl.mjs')])).trim();
    const call = async (method: string, message: unknown) =>
      JSON.parse(
        await run(program, [
          '-plaintext',
          '-d',
          JSON.stringify(message),
          server.address,
          `inference.GRPCInferenceService/${method}`,
        ]),
      ) as Record<string, unknown>;
    assert.deepEqual(await call('ModelReady', { name: MODEL }), { ready: true });
    const { config } = (await call('ModelConfig', { name: `${MODEL}.tiles` })) as {
      config: { input: unknown[] };
    };
    assert.equal(config.input.length, 2);
    const contents = { uintContents: Array.from(readFileSync(samples).subarray(0, 4)) };
    const answer = await call('ModelInfer', {
      modelName: MODEL,
      inputs: [{ name: 'image', datatype: 'UINT8', shape: [2, 2], contents }],
      outputs: [{ name: 'decision' }],
    });
    assert.equal((answer['rawOutputContents'] as string[]).length, 1);
  });

  it('ghz', async () => {
    const data = {
      modelName: MODEL,
      inputs: [{ name: 'image', datatype: 'UINT16', shape: [1, ROWS, COLUMNS, 1] }],
      rawInputContents: [readFileSync(samples).toString('base64')],
    };
    writeFileSync(join(folder, 'ghz.json'), JSON.stringify(data));
    const proto = [
      '--proto',
      join(root, 'proto/inference/grpc_service.proto'),
      '--import-paths',
      join(root, 'proto'),
    ];
    const call = [
      '--call',
      'inference.GRPCInferenceService/ModelInfer',
      '--data-file',
      join(folder, 'ghz.json'),
    ];
    const load = ['--total', '20', '--concurrency', '4', '--format', 'json'];
    const printed = await run(tools.ghz(), ['--insecure', ...proto, ...call, ...load, server.address]);
    const { statusCodeDistribution } = JSON.parse(printed) as {
      statusCodeDistribution: Record<string, number>;
    };
    assert.deepEqual(statusCodeDistribution, { OK: 20 });
  });

  describe('perf_analyzer', () => {
    const perf = async (model: string, ...args: readonly string[]) => {
      const { program, env } = tools.perfAnalyzer();
      const target = ['-m', model, '-u', server.address, '-i', 'grpc'];
      // The test is about the protocol: on a busy machine the rate changes from one interval to the next.
      const window = ['--measurement-interval', '1500', '--stability-percentage', '999', '--max-trials', '3'];
      return run(program, [...target, ...window, ...args], { env });
    };
    const modes: Readonly<Record<string, readonly [model: string, ...args: string[]]>> = {
      'calls one after another': [`${MODEL}.classify`, '--concurrency-range', '2', '--sync'],
      batches: [`${MODEL}.classify`, '-b', '4', '--concurrency-range', '1'],
      'a stream': [`${MODEL}.classify`, '--streaming', '--concurrency-range', '2'],
      'a rate of requests': [`${MODEL}.classify`, '--request-rate-range', '5'],
      'images of any size': [MODEL, '--shape', 'image:300,200,1', '--concurrency-range', '1'],
      tiles: [`${MODEL}.tiles`, '--input-data', 'zero', '--concurrency-range', '2'],
    };
    for (const [name, [model, ...args]] of Object.entries(modes)) {
      it(name, async () => {
        const printed = await perf(model, ...args);
        const [, count] = /Request count: (\d+)/.exec(printed) ?? [];
        assert.ok(Number(count) > 0, printed);
        // What ModelStatistics tells, which perf_analyzer subtracts.
        assert.match(printed, /Server:[\s\S]*Inference count: [1-9]/, printed);
        console.log(`      ${/Throughput: .*/.exec(printed)?.[0]}`);
      });
    }
  });
});

/** The same image and window through ScoreImage of salad.v1. */
async function scoreWithSalad(address: string, raw: Uint8Array): Promise<Summary> {
  const client = new SaladClient(address);
  const scores: (number | null)[] = [];
  const header = {
    acquisitionId: 'expected',
    model: { name: MODEL },
    source: Source.SOURCE_ROWS,
    image: {
      ...{ rows: ROWS, columns: COLUMNS, bitsAllocated: 16, bitsStored: 12 },
      voi: {
        transform: {
          $case: 'window' as const,
          value: { center: 2000, width: 3000, function: VoiFunction.VOI_FUNCTION_LINEAR_EXACT },
        },
      },
    },
  };
  let grid = 0;
  const onEvent = (event: AcquisitionEvent) => {
    if (event.type === 'accepted') {
      grid = event.accepted.geometry?.patchColumns ?? 0;
      scores.push(...Array.from({ length: grid ** 2 }, () => null));
    }
    if (event.type !== 'patches') return;
    for (const { row, column, score } of event.patches) scores[row * grid + column] = score;
  };
  try {
    const aggregate = await client.scoreImage(header, { raw }, { onEvent });
    return {
      ...{ step: '', id: '', error: '', imageScore: aggregate.imageScore, pValue: aggregate.pValue, scores },
      decision: ['UNSPECIFIED', 'NORMAL', 'ANOMALOUS', 'INDETERMINATE'][aggregate.decision] ?? '',
      engine: aggregate.engines.join(','),
      bundle: aggregate.model?.bundleSha256 ?? '',
    };
  } finally {
    client.close();
  }
}
