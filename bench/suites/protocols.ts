/**
 * Suite `protocols`: ModelInfer of the Open Inference Protocol compared with ScoreImage of salad.v1, for the same bytes on
 * the same server, alternately, both with generated stubs and with whole images. Goal: at least 0.9 of the throughput.
 */
import { credentials } from '@grpc/grpc-js';
import { GRPCInferenceServiceClient, ModelInferRequest } from '../../src/gen/inference/grpc_service.js';
import { AnomalyScoringClient, ScoreImageRequest } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { shippedModels } from '../../src/util/package-root.js';
import { planCores, withCores } from '../support/cores.js';
import { CpuWindow } from '../support/cpu-window.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startSalad } from '../support/server-process.js';
import { phantomPixels } from '../support/workload.js';

const MODEL = 'phantom';
/** Sides of the images: as large as the working image, and as large as a radiograph. */
const SIZES = [256, 2048] as const;
const STREAMS = 8;
const WARM_UP_MS = 1000;
const THROUGHPUT_RATIO_MIN = 0.9;

const CHANNEL_OPTIONS = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };

interface Run {
  readonly imagesPerSecond: number;
  readonly cpuMsPerImage: number;
}

/** Scores one image. */
type ScoreOne = () => Promise<void>;

export async function benchProtocols({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  const repeats = quick ? 1 : 7;
  const durationMs = quick ? 1000 : 5000;
  return withCores(plan.client, async () => {
    const server = await startSalad({
      models: shippedModels(),
      cores: plan.server,
      environment: NO_QUEUE_LIMIT,
    });
    try {
      const results: Record<string, unknown> = { model: MODEL, streams: STREAMS, repeats };
      for (const size of SIZES) {
        const protocols = openProtocols(server.address, size);
        const runs: Record<keyof typeof protocols.score, Run[]> = { saladV1: [], openInference: [] };
        for (let repeat = 0; repeat < repeats; repeat++) {
          for (const name of ['saladV1', 'openInference'] as const) {
            runs[name].push(await measure(server, protocols.score[name], durationMs));
          }
        }
        protocols.close();
        results[`${size} x ${size}`] = compare(runs.saladV1, runs.openInference);
      }
      return results;
    } finally {
      await server.stop();
    }
  });
}

function openProtocols(address: string, size: number) {
  const pixels = Buffer.from(phantomPixels(size));
  const salad = new AnomalyScoringClient(address, credentials.createInsecure(), CHANNEL_OPTIONS);
  const inference = new GRPCInferenceServiceClient(address, credentials.createInsecure(), CHANNEL_OPTIONS);
  const image = { rows: size, columns: size, bitsAllocated: 8 };
  const scoreRequest = ScoreImageRequest.fromPartial({
    header: { acquisitionId: 'bench', model: { name: MODEL }, image },
    image: { $case: 'raw', value: pixels },
  });
  const inferRequest = ModelInferRequest.fromPartial({
    modelName: MODEL,
    inputs: [{ name: 'image', datatype: 'UINT8', shape: [1n, BigInt(size), BigInt(size), 1n] }],
    rawInputContents: [pixels],
  });
  const saladV1: ScoreOne = () =>
    new Promise((resolve, reject) => {
      const call = salad.scoreImage(scoreRequest);
      call.on('data', () => undefined);
      call.on('error', reject);
      call.on('end', resolve);
    });
  const openInference: ScoreOne = () =>
    new Promise((resolve, reject) => {
      inference.modelInfer(inferRequest, (error) => (error === null ? resolve() : reject(error)));
    });
  return {
    score: { saladV1, openInference },
    close: () => {
      salad.close();
      inference.close();
    },
  };
}

/** Images one after another in each of several streams. */
async function measure(server: ServerProcess, score: ScoreOne, durationMs: number): Promise<Run> {
  const startMs = performance.now() + WARM_UP_MS;
  const endMs = startMs + durationMs;
  const cpu = new CpuWindow(server.pid, WARM_UP_MS, durationMs);
  let images = 0;
  const stream = async () => {
    while (performance.now() < endMs) {
      await score();
      const now = performance.now();
      if (now >= startMs && now < endMs) images += 1;
    }
  };
  await Promise.all(Array.from({ length: STREAMS }, stream));
  const { serverCores } = await cpu.result();
  return {
    imagesPerSecond: (1000 * images) / durationMs,
    cpuMsPerImage: (serverCores * durationMs) / images,
  };
}

function compare(saladV1: readonly Run[], openInference: readonly Run[]): Record<string, unknown> {
  const figures = (runs: readonly Run[]) => {
    const rates = runs.map(({ imagesPerSecond }) => imagesPerSecond);
    return {
      imagesPerSecond: median(rates),
      imagesPerSecondSpread: spread(rates),
      cpuMsPerImage: median(runs.map(({ cpuMsPerImage }) => cpuMsPerImage)),
    };
  };
  const [salad, inference] = [figures(saladV1), figures(openInference)];
  return {
    saladV1: salad,
    openInference: inference,
    throughputRatioGoal: THROUGHPUT_RATIO_MIN,
    throughputRatio: inference.imagesPerSecond / salad.imagesPerSecond,
    cpuRatio: inference.cpuMsPerImage / salad.cpuMsPerImage,
  };
}
