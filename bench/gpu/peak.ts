/** Part `peak`: the highest rate of float32 fused multiply-adds that WebGPU reaches on the device. */
import { fileURLToPath } from 'node:url';
import { runForJson } from './child.js';
import type { Part } from './run.js';

export const peak: Part = {
  name: 'peak',
  seconds: 30,
  async run(context, record, signal) {
    const program = fileURLToPath(new URL('./peak-process.js', import.meta.url));
    record(await runForJson(context, [program, context.quick ? 'quick' : 'full'], signal));
  },
};
