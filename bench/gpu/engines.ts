/** Parts `doctor` and `parity`: what would serve here, and whether every engine that starts gives the golden scores. */
import { ENGINE_NAMES } from '../../src/engines/engine.js';
import { runForJson, SALAD } from './child.js';
import type { Figures } from './report.js';
import type { Part } from './run.js';

/** The engines by name, and onnxruntime on its own WebGPU provider. */
const CANDIDATES: readonly {
  readonly name: string;
  readonly arguments: readonly string[];
  readonly provider?: string;
}[] = [
  ...ENGINE_NAMES.map((name) => ({ name, arguments: ['--engine', name] })),
  { name: 'onnx on webgpu', arguments: ['--engine', 'onnx'], provider: 'webgpu' },
];

export const doctor: Part = {
  name: 'doctor',
  seconds: 60,
  async run(context, record, signal) {
    const report = await runForJson(context, [SALAD, 'doctor', '--models', context.models, '--json'], signal);
    record({ engine: report['engine'], problems: report['problems'], engines: report['engines'] });
  },
};

export const parity: Part = {
  name: 'parity',
  seconds: 90,
  async run(context, record, signal) {
    for (const { name, arguments: chosen, provider } of CANDIDATES) {
      try {
        record({ [name]: await parityOf(chosen, provider) });
      } catch (error) {
        // Such as an engine that ends the process.
        record({ [name]: { usable: false, reason: error instanceof Error ? error.message : String(error) } });
      }
      if (signal.aborted) return;
    }

    async function parityOf(chosen: readonly string[], provider: string | undefined): Promise<Figures> {
      const args = [SALAD, 'doctor', '--models', context.models, ...chosen, '--json'];
      const environment = provider === undefined ? {} : { SALAD_ONNX_PROVIDER: provider };
      const { engines, provenWith } = await runForJson(context, args, signal, environment);
      const [report] = engines as readonly Figures[];
      if (report === undefined) throw new Error('doctor reported no engine');
      const { device, hardware, usable, reason, maxAbsScoreError, selfTests } = report;
      const byBundle = (provenWith as readonly string[]).map((bundle, index) => [
        bundle,
        (selfTests as readonly Figures[])[index],
      ]);
      return { device, hardware, usable, reason, maxAbsScoreError, bundles: Object.fromEntries(byBundle) };
    }
  },
};
