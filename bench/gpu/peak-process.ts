/**
 * The process of peak.ts: `node peak-process.js quick|full` prints one JSON line. A WGSL kernel of fused multiply-adds
 * in registers, 128 in a loop, gives the peak; its launch grows until its time hides the cost of the launch.
 */
import { importDawn } from '../../src/engines/tfjs/webgpu/packages.js';
import { median } from '../support/figures.js';

// The members of WebGPU's objects that are used here.
interface Device {
  readonly queue: {
    writeBuffer(buffer: object, offset: number, data: Uint32Array | Float32Array): void;
    submit(commands: readonly object[]): void;
    onSubmittedWorkDone(): Promise<void>;
  };
  createShaderModule(descriptor: object): object;
  createComputePipelineAsync(descriptor: object): Promise<{ getBindGroupLayout(index: number): object }>;
  createBuffer(descriptor: object): object;
  createBindGroup(descriptor: object): object;
  createCommandEncoder(): Encoder;
  destroy(): void;
}
interface Encoder {
  beginComputePass(): {
    setPipeline(pipeline: object): void;
    setBindGroup(index: number, group: object): void;
    dispatchWorkgroups(count: number): void;
    end(): void;
  };
  finish(): object;
}
interface Adapter {
  readonly info: Readonly<Record<'vendor' | 'architecture' | 'device' | 'description', string>>;
  readonly features: Iterable<string>;
  readonly limits: Readonly<Record<string, number>>;
  requestDevice(): Promise<Device>;
}
interface Dawn {
  create(flags: readonly string[]): { requestAdapter(options: object): Promise<Adapter | null> };
}

const WORKGROUP = 256;
/** Vectors of four that are independent of each other, and multiply-adds of each in one turn of the loop. */
const [CHAINS, UNROLLED] = [8, 4];
const FLOPS_PER_ROUND = WORKGROUP * CHAINS * UNROLLED * 4 * 2;

const names = Array.from({ length: CHAINS }, (_, index) => `a${index}`);
const KERNEL = `
struct Factors { scale: vec4f, offset: vec4f, rounds: u32 }
@group(0) @binding(0) var<uniform> factors: Factors;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4f>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let scale = factors.scale;
  let offset = factors.offset;
  ${names.map((name, index) => `var ${name} = vec4f(f32(id.x % 64u) + ${index}.0);`).join('\n  ')}
  for (var round = 0u; round < factors.rounds; round++) {
    ${Array.from({ length: UNROLLED }, () => names.map((name) => `${name} = fma(${name}, scale, offset);`).join(' ')).join('\n    ')}
  }
  sums[id.x] = ${names.join(' + ')};
}`;

const isQuick = process.argv[2] === 'quick';
/** A launch is long enough after this time; the launch itself takes tens of microseconds. */
const LAUNCH_MS = isQuick ? 5 : 60;
const WORKGROUPS_MAX = 8192;
const SAMPLES = isQuick ? 3 : 15;
/** Bits of GPUBufferUsage: UNIFORM | COPY_DST, and STORAGE. */
const [UNIFORM_COPY_DST, STORAGE] = [0x48, 0x80];

const { create } = (await importDawn()) as Dawn;
// Kept until the end: the device becomes invalid when Dawn's instance is collected.
const gpu = create([]);
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
if (adapter === null) throw new Error('there is no WebGPU adapter');
const device = await adapter.requestDevice();
const pipeline = await device.createComputePipelineAsync({
  layout: 'auto',
  compute: { module: device.createShaderModule({ code: KERNEL }), entryPoint: 'main' },
});
const factors = device.createBuffer({ size: 48, usage: UNIFORM_COPY_DST });
const sums = device.createBuffer({ size: WORKGROUPS_MAX * WORKGROUP * 16, usage: STORAGE });
const group = device.createBindGroup({
  layout: pipeline.getBindGroupLayout(0),
  entries: [
    { binding: 0, resource: { buffer: factors } },
    { binding: 1, resource: { buffer: sums } },
  ],
});
// The sums converge, so that they stay ordinary numbers.
device.queue.writeBuffer(factors, 0, new Float32Array([0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1]));

/** @returns time of one launch, ms */
async function launch(workgroups: number, rounds: number): Promise<number> {
  device.queue.writeBuffer(factors, 32, new Uint32Array([rounds, 0, 0, 0]));
  await device.queue.onSubmittedWorkDone();
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(workgroups);
  pass.end();
  const commands = encoder.finish();
  const startMs = performance.now();
  device.queue.submit([commands]);
  await device.queue.onSubmittedWorkDone();
  return performance.now() - startMs;
}

let [workgroups, rounds] = [16, 1];
await launch(workgroups, rounds);
while ((await launch(workgroups, rounds)) < LAUNCH_MS) {
  if (workgroups < WORKGROUPS_MAX) workgroups *= 2;
  else rounds *= 2;
}
const rates: number[] = [];
for (let sample = 0; sample < SAMPLES; sample++) {
  rates.push((1e-6 * FLOPS_PER_ROUND * workgroups * rounds) / (await launch(workgroups, rounds)));
}
const { vendor, architecture, device: name, description } = adapter.info;
const result = {
  // The highest: a launch can only be slowed down by other work.
  gigaFlops: Math.max(...rates),
  medianGigaFlops: median(rates),
  launches: SAMPLES,
  invocations: workgroups * WORKGROUP,
  multiplyAddsPerInvocation: rounds * CHAINS * UNROLLED * 4,
  adapter: { vendor, architecture, device: name, description },
  features: [...adapter.features].sort(),
  maxStorageBufferBindingSize: adapter.limits['maxStorageBufferBindingSize'],
};
process.stdout.write(`${JSON.stringify(result)}\n`);
device.destroy();
