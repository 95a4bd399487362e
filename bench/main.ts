/** `npm run bench`: runs benchmark suites. Every ratio compares two measurements of the same run. */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { HELP_CONFIGURATION, HELP_OUTPUT, helpText } from '../src/cli/shared/help.js';
import { note, print, printJson } from '../src/cli/shared/output.js';
import { ONNX_ENVIRONMENT } from '../src/engines/onnx/environment.js';
import { tensorflowEnvironment } from '../src/engines/tfjs/tensorflow/environment.js';
import { packageRoot } from '../src/util/package-root.js';
import { benchDetectionAblation } from './research/ablation.js';
import { benchDecoding } from './suites/decoding.js';
import { benchDetection } from './suites/detection.js';
import { benchDicom } from './suites/dicom.js';
import { benchEngines } from './suites/engines.js';
import { benchGhz } from './suites/ghz.js';
import { benchModality } from './suites/modality.js';
import { benchOverload } from './suites/overload.js';
import { benchPeers } from './suites/peers.js';
import { benchPort } from './suites/port.js';
import { benchProtocols } from './suites/protocols.js';
import { benchSearch } from './suites/search.js';
import { benchStreaming } from './suites/streaming.js';
import { benchSwap } from './suites/swap.js';
import { benchTelemetry } from './suites/telemetry.js';
import { benchTraining } from './suites/training.js';
import type { BenchOptions } from './support/options.js';

interface Suite {
  readonly run: (options: BenchOptions) => Promise<Record<string, unknown>>;
  /** What the suite compares with what, for the help. */
  readonly purpose: string;
  /** Not part of `all`: it installs other programs from PyPI or the Go proxy, takes half an hour, or is part of another. */
  readonly isOnDemand?: boolean;
}

const SUITES: Readonly<Record<string, Suite>> = {
  streaming: {
    run: benchStreaming,
    purpose: 'the server compared with its engine alone: idle, under load and over capacity',
  },
  overload: {
    run: benchOverload,
    purpose:
      'twice the rate that the server can do, on this machine and at half its speed; a part of streaming',
    isOnDemand: true,
  },
  swap: {
    run: benchSwap,
    purpose:
      'acquisitions while versions of their model are loaded and unloaded, compared with no change; memory',
  },
  port: {
    run: benchPort,
    purpose: 'what an image costs at the port without an engine, compared with a bare grpc-js server',
  },
  training: { run: benchTraining, purpose: 'step time and memory of SALAD training, on each backend' },
  peers: {
    run: benchPeers,
    purpose:
      'the server compared with a plain Python server, MLServer and Triton; installs them from PyPI the first time ' +
      '(minutes)',
    isOnDemand: true,
  },
  search: {
    run: benchSearch,
    purpose:
      'memory-bank search with 10,000, 100,000 and 1,000,000 prototypes, compared with a matrix product and with the ' +
      'index library alone; keeps the indexes in .cache',
  },
  engines: {
    run: benchEngines,
    purpose:
      "every engine without a server: batch sizes, share of the processor's peak, compared with onnxruntime in Python " +
      '(installed from PyPI the first time), cost of the search',
  },
  protocols: {
    run: benchProtocols,
    purpose: 'whole images through the Open Inference Protocol compared with ScoreImage, on one server',
  },
  telemetry: {
    run: benchTelemetry,
    purpose: 'a server with metrics and traces compared with a server without',
  },
  decoding: {
    run: benchDecoding,
    purpose: 'the check of a whole PNG or JPEG before decompression, compared with the decompression',
  },
  dicom: {
    run: benchDicom,
    purpose:
      'decoding of DICOM files compared with pydicom and its codecs (installed from PyPI the first time), on phantoms of ' +
      'every transfer syntax and on the files in ../shared/data/dicom',
  },
  detection: {
    run: benchDetection,
    purpose:
      'detection by the shipped models: on phantoms, and on the radiographs in ../shared/data, compared with the same ' +
      'radiographs after changes of exposure, noise, position and more',
  },
  'detection-ablation': {
    run: benchDetectionAblation,
    purpose: 'variants of the preset gabor on normal images with synthetic lesions; takes half an hour',
    isOnDemand: true,
  },
  modality: {
    run: benchModality,
    purpose:
      "the DICOM gateway: from storescu to the report at Orthanc; reception with fsync compared with DCMTK's storescp; " +
      'memory with 50 mammograms in the queue; installs DCMTK and Orthanc from Debian where they are missing',
    isOnDemand: true,
  },
  ghz: {
    run: benchGhz,
    purpose:
      'the latencies of the load generator compared with those of ghz; builds ghz with Go the first time',
    isOnDemand: true,
  },
};

const suiteLines = Object.entries(SUITES).map(([name, { purpose, isOnDemand }]) => {
  const suffix = isOnDemand ? '; not part of "all"' : '';
  return `  ${name.padEnd(18)}  ${purpose}${suffix}`;
});

const program = new Command('npm run bench --')
  .description(
    'Runs benchmark suites. Every ratio compares two measurements of the same run, and both are printed with it.',
  )
  .configureHelp(HELP_CONFIGURATION)
  .configureOutput(HELP_OUTPUT)
  .addOption(
    new Option('--suite <name>', 'suite to run').choices([...Object.keys(SUITES), 'all']).default('all'),
  )
  .option('--quick', 'short runs that show that a suite works; the figures mean nothing')
  .option('--out <dir>', 'folder for the results, one JSON file per suite', 'out/bench')
  .option('--json', 'print one JSON object per suite')
  .addHelpText(
    'after',
    helpText(
      [
        `Suites:\n${suiteLines.join('\n')}`,
        'A suite of "all" takes less than ten minutes. Run the benchmarks on a machine without other load.',
        'Variables: SALAD_BENCH_ENGINE=NAME measures the server with another engine than onnx; ' +
          'SALAD_BENCH_BUNDLE=FOLDER/NAME/VERSION adds a bundle to the suite streaming; SALAD_BENCH_PYTORCH=1 adds ' +
          'PyTorch to the suite engines (installs 5 GB from PyPI).',
      ],
      [
        ['npm run bench', 'run all suites but peers, modality, ghz and detection-ablation'],
        ['npm run -s bench -- --suite streaming --quick --json', 'try one suite'],
        ['npm run bench -- --suite peers', 'compare with other servers'],
      ],
    ),
  )
  .action(async (flags: { suite: string; quick?: boolean; out: string; json?: boolean }) => {
    for (const [name, suite] of Object.entries(SUITES)) {
      if (flags.suite === 'all' ? suite.isOnDemand : flags.suite !== name) continue;
      note(`bench: ${name} ...`);
      const results = await suite.run({ quick: flags.quick === true });
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
      else print(formatResults(results));
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

/** Formats results as indented `key: value` lines; numbers with four significant digits. */
function formatResults(value: unknown, indent = ''): string {
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) => {
      if (inner !== null && typeof inner === 'object')
        return `${indent}${key}:\n${formatResults(inner, `${indent}  `)}`;
      return `${indent}${key}: ${typeof inner === 'number' ? Number(inner.toPrecision(4)) : inner}`;
    })
    .join('\n');
}

Object.assign(process.env, ONNX_ENVIRONMENT, tensorflowEnvironment(process.env));
await program.parseAsync();
