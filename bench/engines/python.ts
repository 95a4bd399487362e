/** Runs an ONNX file in Python's onnxruntime or PyTorch (from PyPI) in a process; see ort.py and pytorch.py. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { buildOnnx } from '../../src/network/onnx/build.js';
import { packageRoot } from '../../src/util/package-root.js';
import { onCores } from '../support/cores.js';
import { endProcess } from '../support/end-process.js';
import { benchSource } from '../support/model-sources.js';
import { installPeer } from '../support/python-packages.js';
import type { RunAnswer, RunRequest } from './runner.js';

export type PythonLayout = 'sessions' | 'threads';

export class PythonRuntime {
  private readonly files = new Map<string, { readonly onnx: string; readonly patchesPerTile: number }>();

  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, null>,
    private readonly lines: Interface,
    readonly version: string,
  ) {}

  /** Installs the packages the first time; onnxruntime is in the virtual environment of the plain Python server. */
  static async start(
    runtime: 'onnxruntime' | 'pytorch',
    threads: number,
    cores: string,
  ): Promise<PythonRuntime> {
    const { python } = installPeer(runtime === 'pytorch' ? 'pytorch' : 'naive-python');
    const file = runtime === 'pytorch' ? 'pytorch.py' : 'ort.py';
    const script = join(packageRoot(), 'bench/engines', file);
    const [program, args] = onCores(cores, python, [script, String(threads)]);
    const child = spawn(program, [...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    const { version } = (await nextLine(lines)) as { readonly version: string };
    return new PythonRuntime(child, lines, version);
  }

  async run(request: RunRequest, layout: PythonLayout): Promise<RunAnswer> {
    const file = await this.exportModel(request);
    const answer = nextLine(this.lines);
    const { batchSize, durationMs } = request;
    this.child.stdin.write(`${JSON.stringify({ ...file, batchSize, seconds: durationMs / 1000, layout })}\n`);
    return (await answer) as RunAnswer;
  }

  stop(): Promise<void> {
    return endProcess(this.child);
  }

  private async exportModel({ model, bank }: RunRequest) {
    const key = `${model}-${bank}`;
    let file = this.files.get(key);
    if (file === undefined) {
      const source = await benchSource(model, bank);
      const folder = join(packageRoot(), '.cache/engines-bench');
      mkdirSync(folder, { recursive: true });
      const onnx = join(folder, `${key}.onnx`);
      writeFileSync(onnx, buildOnnx(source));
      file = { onnx, patchesPerTile: source.geometry.patchesPerTile };
      this.files.set(key, file);
    }
    return file;
  }
}

function nextLine(lines: Interface): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('the Python process ended; see its output above'));
    lines.once('close', onClose);
    lines.once('line', (line) => {
      lines.off('close', onClose);
      resolve(JSON.parse(line));
    });
  });
}
