/**
 * Suite `training`: measures the step time and the memory of the preset `salad` with as many tiles as the real data set
 * has, for a few steps; compares its phases and the backends of TensorFlow.js.
 */

import { SaladError } from '../../src/errors/index.js';
import { geometryOf } from '../../src/geometry/geometry.js';
import { saladDecoder } from '../../src/network/salad-networks.js';
import {
  prepareTrainingBackend,
  type TrainingBackend,
  type TrainingBackendName,
} from '../../src/training/backend/prepare.js';
import type { SaladConfig } from '../../src/training/encoders/salad/config.js';
import { saladPreset } from '../../src/training/encoders/salad/named-configurations.js';
import { randomStream } from '../../src/training/encoders/salad/random-streams.js';
import type { TileSource } from '../../src/training/encoders/salad/tiles.js';
import { encoderOf } from '../../src/training/encoders/salad/trainable-network.js';
import { trainSaladEncoder } from '../../src/training/encoders/salad/trainer.js';
import { convolutionMacs } from '../support/macs.js';

/** Number of images of the data set that the preset was designed for. */
const IMAGES = 1349;

/** Tiles of noise, which are enough here: the time of a step does not depend on the content. */
function noiseTiles(size: number, count: number): TileSource {
  const random = randomStream(1);
  const pixels = Uint8Array.from({ length: 64 * size * size }, () => random.integer(256));
  const imageOf = Int32Array.from({ length: count }, (_, tile) => tile);
  return {
    count,
    size,
    imageOf,
    patientOf: imageOf,
    cellOf: new Int32Array(count),
    gridSide: 1,
    overlapCells: 1,
    readTiles(indices) {
      const out = new Uint8Array(indices.length * size * size);
      indices.forEach((tile, i) => {
        out.set(pixels.subarray((tile % 64) * size * size, ((tile % 64) + 1) * size * size), i * size * size);
      });
      return out;
    },
  };
}

interface StepTimes {
  readonly wallMs: readonly number[];
  readonly cpuMs: readonly number[];
}

/** Runs the trainer for one warm-up batch and `steps` measured batches, then stops it. */
async function timeSteps(tiles: TileSource, config: SaladConfig, steps: number): Promise<StepTimes> {
  const controller = new AbortController();
  const wallMs: number[] = [];
  const cpuMs: number[] = [];
  let batches = 0;
  let wall = performance.now();
  let cpu = process.cpuUsage();
  const onProgress = (): void => {
    const used = process.cpuUsage(cpu);
    if (batches > 0) {
      wallMs.push(performance.now() - wall);
      cpuMs.push((used.user + used.system) / 1000);
    }
    batches++;
    if (batches > steps) controller.abort();
    wall = performance.now();
    cpu = process.cpuUsage();
  };
  try {
    await trainSaladEncoder({ tiles, config, seed: 1, signal: controller.signal, onProgress });
  } catch (error) {
    if (!controller.signal.aborted) throw error;
  }
  return { wallMs, cpuMs };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

async function benchBackend(name: TrainingBackendName, steps: number): Promise<Record<string, unknown>> {
  let backend: TrainingBackend;
  try {
    backend = await prepareTrainingBackend(name);
  } catch (error) {
    return { usable: false, reason: SaladError.from(error).message };
  }
  if (backend.name !== name) return { usable: false, reason: backend.fallbackReason };
  const { input, tiling, config } = saladPreset('salad');
  const { tileHeight: tileSize } = geometryOf(input, tiling);
  const tiles = noiseTiles(tileSize, IMAGES * (config.tilesPerImage ?? 1));
  const shared = { ...config, tilesPerImage: null, initialMemory: 'random' as const };
  const twoView = await timeSteps(tiles, { ...shared, warmup: 'two-view', warmupEpochs: 1 }, steps);
  const memory = await timeSteps(tiles, { ...shared, warmupEpochs: 0 }, steps);
  const { baseWidth, downs, embedding, channels, reduction, batchSize } = config;
  const options = { inputSize: tileSize / reduction, baseWidth, downs, embedding, channels };
  const encoderMacs = convolutionMacs(encoderOf(config, tileSize), 1);
  const decoderMacs = convolutionMacs(saladDecoder(options), embedding);
  // Three passes of equal cost (forward, gradient of the input, gradient of the weights), two operations per MAC.
  const flop = (views: number): number => 3 * 2 * batchSize * (views * encoderMacs + decoderMacs);
  const phase = (times: StepTimes, views: number): Record<string, unknown> => ({
    stepMs: median(times.wallMs),
    stepCpuMs: median(times.cpuMs),
    steps: times.wallMs.length,
    gigaFlopPerStep: flop(views) / 1e9,
    gigaFlopPerSecond: flop(views) / 1e6 / median(times.wallMs),
  });
  backend.release?.();
  return {
    usable: true,
    device: backend.device,
    batchSize,
    slots: tiles.count,
    twoView: phase(twoView, 2),
    memory: phase(memory, 1),
  };
}

/** Step times of the preset `salad`, per backend, and the peak memory of this process. */
export async function benchTraining(options: { quick?: boolean } = {}): Promise<Record<string, unknown>> {
  const steps = options.quick === true ? 3 : 7;
  const wasm = await benchBackend('wasm', steps);
  const afterWasm = process.resourceUsage().maxRSS;
  const tensorflow = await benchBackend('tensorflow', steps);
  const webgpu = await benchBackend('webgpu', steps);
  return {
    preset: 'salad',
    wasm,
    tensorflow,
    webgpu,
    peakRssMiB: Math.round(afterWasm / 1024),
  };
}
