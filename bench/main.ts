/** `npm run bench`: every figure is a ratio of two things measured in the same run. */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { note, print, printJson } from '../src/cli/shared/output.js';
import { ONNX_ENVIRONMENT } from '../src/engines/onnx/environment.js';
import { tensorflowEnvironment } from '../src/engines/tfjs/tensorflow/environment.js';
import { packageRoot } from '../src/util/package-root.js';
import { benchDetectionAblation } from './research/ablation.js';
import { benchDecoding } from './suites/decoding.js';
import { benchDetection } from './suites/detection.js';
import { benchEngines } from './suites/engines.js';
import { benchGhz } from './suites/ghz.js';
import { benchPeers } from './suites/peers.js';
import { benchSearch } from './suites/search.js';
import { benchStreaming } from './suites/streaming.js';
import { benchTelemetry } from './suites/telemetry.js';
import { benchTraining } from './suites/training.js';
import type { BenchOptions } from './support/options.js';

type Suite = (options: BenchOptions) => Promise<Record<string, unknown>>;

const SUITES: Readonly<Record<string, Suite>> = {
  streaming: benchStreaming,
  training: benchTraining,
  peers: benchPeers,
  search: benchSearch,
  engines: benchEngines,
  telemetry: benchTelemetry,
  decoding: benchDecoding,
  detection: benchDetection,
  'detection-ablation': benchDetectionAblation,
  ghz: benchGhz,
};
/** Only where asked for: they install other people's programs first, from PyPI and the Go proxy, or take half an hour. */
const ON_DEMAND: ReadonlySet<string> = new Set(['peers', 'ghz', 'detection-ablation']);

const program = new Command('bench')
  .description('ratios measured in one run; each stands beside both its terms')
  .addOption(new Option('--suite <name>').choices([...Object.keys(SUITES), 'all']).default('all'))
  .option('--quick', 'short runs, to show that it works')
  .option('--out <dir>', 'where the JSON goes', 'out/bench')
  .option('--json', 'one JSON object per suite')
  .addHelpText(
    'after',
    `
Suites:
  streaming  the server against its bare engine, idle, under load and past its capacity
  training   step time and memory of SALAD training
  search     memory-bank search at 10,000, 100,000 and a million prototypes; indexes are kept in .cache
  telemetry  a server that is scraped and sends traces beside one that tells nothing
  decoding   checking a whole PNG or JPEG before it is decompressed, beside the decompression
  engines    every engine by itself: batch sizes, share of the processor's peak, Python's onnxruntime beside ours
             (installed from PyPI the first time), what the search adds to the encoder
  detection  the shipped bundles on phantoms and on the radiographs beside the checkout, also changed ones
  detection-ablation
             preset gabor taken apart on training normals with synthetic lesions; half an hour, so \`all\` leaves it out
  peers      beside a plain Python server and MLServer; installs both from PyPI the first time (a minute or
             more), so \`all\` leaves it out
  ghz        our latency measurement beside ghz's; builds it with Go the first time; \`all\` leaves it out

Examples:
  npm run bench                              everything but peers, ghz and detection-ablation, under ten minutes a suite
  npm run -s bench -- --suite streaming --quick --json
  npm run bench -- --suite peers             tiles per second and p99 beside the peers`,
  )
  .action(async (flags: { suite: string; quick?: boolean; out: string; json?: boolean }) => {
    for (const [name, suite] of Object.entries(SUITES)) {
      if (flags.suite === 'all' ? ON_DEMAND.has(name) : flags.suite !== name) continue;
      note(`bench: ${name} ...`);
      const results = await suite({ quick: flags.quick === true });
      const report = {
        suite: name,
        commit: commit(),
        machine: machine(),
        quick: flags.quick === true,
        results,
      };
      await mkdir(flags.out, { recursive: true });
      const file = join(flags.out, `${name}.json`);
      await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
      if (flags.json) printJson(report);
      else print(readable(results));
      note(`bench: wrote ${file}`);
    }
  });

function machine(): Record<string, unknown> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model,
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  };
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: packageRoot(),
      encoding: 'utf8',
    }).trim();
  } catch {
    return 'unknown';
  }
}

/** Indented `key: value` lines; numbers with four digits. */
function readable(value: unknown, indent = ''): string {
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) => {
      if (inner !== null && typeof inner === 'object')
        return `${indent}${key}:\n${readable(inner, `${indent}  `)}`;
      return `${indent}${key}: ${typeof inner === 'number' ? Number(inner.toPrecision(4)) : inner}`;
    })
    .join('\n');
}

Object.assign(process.env, ONNX_ENVIRONMENT, tensorflowEnvironment(process.env));
await program.parseAsync();
