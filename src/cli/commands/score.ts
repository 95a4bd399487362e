import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { type Command, Option } from 'commander';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  AnomalyMapFormat,
  Decision,
  Priority,
  type SaladClient,
  SaladClientError,
  Source,
} from '../../../clients/typescript/src/index.js';
import { ENGINE_NAMES } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { decodeImage } from '../../imaging/decode.js';
import { defaultPixelFormat } from '../../imaging/pixel-format.js';
import type { ProgramContext } from '../program.js';
import { EXIT, note, print, printJson, table } from '../shared/output.js';
import { type RawImage, rowChunks, tileChunks } from '../shared/pixel-source.js';
import { chooseModel, openSession } from '../shared/session.js';
import { type TargetFlags, withTargetFlags } from '../shared/target.js';
import { type ScoreReportEntry, writeScoreReport } from './score-report.js';

type Mode = 'image' | 'rows' | 'tiles';

interface ScoreFlags extends TargetFlags {
  readonly mode: Mode;
  readonly model?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly anomalyMap?: string;
  readonly report?: string;
  readonly patches?: boolean;
  readonly json?: boolean;
  readonly rowsPerSecond: string;
  readonly priority: 'stat' | 'routine' | 'background';
  readonly maxFalsePositiveRate?: string;
  readonly timeoutMs: string;
}

export function registerScore(program: Command, context: ProgramContext): void {
  withTargetFlags(program.command('score'))
    .description('score radiographs through the gRPC port of a server')
    .argument('<files...>', 'PNG or JPEG, 8 or 16 bits')
    .addOption(
      new Option('--mode <mode>', 'how pixels travel').choices(['image', 'rows', 'tiles']).default('image'),
    )
    .option('--model <name[@version]>', 'which model; may be left out where one is loaded')
    .option('--models <dir>', 'folder of bundles for the embedded server (default: the shipped ones)')
    .option('--engine <name>', `engine of the embedded server: auto or ${ENGINE_NAMES.join(', ')}`)
    .option('--anomaly-map <file.png>', 'write the colour overlay; {name} stands for the file name')
    .option('--report <file.html>', 'write a self-contained HTML report')
    .option('--patches', 'print every patch score as it arrives')
    .option('--rows-per-second <n>', 'detector pace in rows mode; 0 = as fast as possible', '0')
    .addOption(
      new Option('--priority <class>', 'what goes first when the server is busy')
        .choices(['stat', 'routine', 'background'])
        .default('routine'),
    )
    .option('--max-false-positive-rate <rate>', 'rate the decision threshold is set for, in (0, 1)')
    .option('--timeout-ms <ms>', 'deadline of each file', '60000')
    .option('--json', 'JSON Lines')
    .addHelpText(
      'after',
      `
Examples:
  salad score chest.png --model chest-pediatric
  salad score *.png --model chest-pediatric --json | jq .imageScore
  salad score chest.png --model phantom --mode rows --rows-per-second 400 --patches
  salad score chest.png --model chest-pediatric --anomaly-map map.png --report report.html
  salad score chest.png --target salad.example:50051 --model chest-pediatric@1`,
    )
    .action((files: string[], flags: ScoreFlags) => score(files, flags, context));
}

async function score(files: readonly string[], flags: ScoreFlags, context: ProgramContext): Promise<void> {
  if (flags.anomalyMap && files.length > 1 && !flags.anomalyMap.includes('{name}')) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      '--anomaly-map needs {name} in its path where several files are scored',
    );
  }
  const session = await openSession({ ...flags, environment: context.environment });
  const entries: ScoreReportEntry[] = [];
  try {
    const model = chooseModel(flags.model, session.models);
    for (const file of files) {
      const entry = await scoreFile(session.client, file, { ...flags, selector: model });
      if (entry) entries.push(entry);
      else process.exitCode = EXIT.failure;
    }
  } finally {
    await session.close();
  }
  if (!flags.json && entries.length > 0) print(scoreTable(entries));
  if (flags.report) {
    await writeScoreReport(flags.report, entries);
    note(`report: ${flags.report}`);
  }
}

type FileOptions = ScoreFlags & { readonly selector: { readonly name: string; readonly version?: number } };

/** Scores one file and prints it; undefined where it failed, which hurts no other file. */
async function scoreFile(
  client: SaladClient,
  file: string,
  options: FileOptions,
): Promise<ScoreReportEntry | undefined> {
  const started = performance.now();
  try {
    const bytes = await readFile(file);
    const stream =
      options.mode === 'image'
        ? acquireFile(client, bytes, options)
        : acquirePixels(client, await decode(bytes), options);
    const result = await collect(stream, (event) => {
      if (options.patches && event.type === 'patches') printPatches(file, event, options.json === true);
    });
    const latencyMs = performance.now() - started;
    const overlay = result.anomalyMap?.data;
    if (options.anomalyMap && overlay) {
      const path = options.anomalyMap.replaceAll('{name}', basename(file, extname(file)));
      await writeFile(path, overlay);
      note(`anomaly map: ${path}`);
    }
    if (options.json) printJson(aggregateJson(file, result, latencyMs));
    return { file, aggregate: result, latencyMs, overlay };
  } catch (error) {
    printFailure(file, error, options.json === true);
    return undefined;
  }
}

type Decoded = RawImage & { readonly bitsStored: number };

/** The file is the user's own, so only the server's limits apply. */
function decode(bytes: Uint8Array): Promise<Decoded> {
  return decodeImage(bytes, { maxPixels: Number.MAX_SAFE_INTEGER });
}

/** The file as it is: the server decodes it. */
function acquireFile(
  client: SaladClient,
  encoded: Uint8Array,
  options: FileOptions,
): AsyncIterable<AcquisitionEvent> {
  return client.streamImage(headerOf(options), { encoded }, { timeoutMs: Number(options.timeoutMs) });
}

/** Rows or tiles, as a modality sends them; all modes give the same scores. */
function acquirePixels(
  client: SaladClient,
  image: Decoded,
  options: FileOptions,
): AsyncIterable<AcquisitionEvent> {
  const { rows, columns, bitsAllocated, bitsStored } = image;
  const call = { timeoutMs: Number(options.timeoutMs) };
  if (options.mode === 'rows') {
    const header = {
      ...headerOf(options),
      image: { rows, columns, bitsAllocated, bitsStored },
      source: Source.SOURCE_ROWS,
    };
    return client.streamAcquisition(header, rowChunks(image, 16, Number(options.rowsPerSecond)), call);
  }
  // Tiles are sent as display values: their own format, whatever the file's.
  const header = {
    ...headerOf(options),
    image: { rows, columns, bitsAllocated: 32, bitsStored },
    source: Source.SOURCE_TILES,
  };
  const format = defaultPixelFormat(rows, columns, bitsAllocated, bitsStored);
  return client.streamAcquisition(header, (accepted) => tileChunks(image, format, accepted), call);
}

const PRIORITIES = {
  stat: Priority.PRIORITY_STAT,
  routine: Priority.PRIORITY_ROUTINE,
  background: Priority.PRIORITY_BACKGROUND,
};

function headerOf(options: FileOptions) {
  const wantsMap = options.anomalyMap !== undefined || options.report !== undefined;
  const rate = options.maxFalsePositiveRate;
  return {
    acquisitionId: randomUUID(),
    model: options.selector,
    priority: PRIORITIES[options.priority],
    options: {
      patchScores: options.patches === true,
      anomalyMap: wantsMap
        ? AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY
        : AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE,
      ...(rate === undefined ? {} : { maxFalsePositiveRate: Number(rate) }),
    },
  };
}

async function collect(
  stream: AsyncIterable<AcquisitionEvent>,
  onEvent: (event: AcquisitionEvent) => void,
): Promise<AcquisitionAggregate> {
  let aggregate: AcquisitionAggregate | undefined;
  for await (const event of stream) {
    onEvent(event);
    if (event.type === 'aggregate') aggregate = event.aggregate;
  }
  if (!aggregate) throw new SaladError('INTERNAL', 'the server ended the acquisition without an aggregate');
  return aggregate;
}

function printPatches(file: string, event: AcquisitionEvent & { type: 'patches' }, json: boolean): void {
  for (const { row, column, score: value, robustZ, pValue } of event.patches) {
    if (json) printJson({ event: 'patch', file, row, column, score: value, robustZ, pValue });
    else print(`${file}  patch ${row},${column}  score ${value.toFixed(4)}  z ${robustZ.toFixed(2)}`);
  }
}

/** The aggregate line of docs/cli.md. `anomalous` is null where the decision is indeterminate. */
export function aggregateJson(
  file: string,
  aggregate: AcquisitionAggregate,
  latencyMs: number,
): Record<string, unknown> {
  const { coverage, model, timings } = aggregate;
  return {
    event: 'aggregate',
    file,
    acquisitionId: aggregate.acquisitionId,
    model: `${model?.name}@${model?.version}`,
    bundleSha256: model?.bundleSha256,
    engine: aggregate.engines[0] ?? null,
    engines: aggregate.engines,
    imageScore: aggregate.imageScore,
    pValue: aggregate.pValue,
    anomalous:
      aggregate.decision === Decision.DECISION_INDETERMINATE
        ? null
        : aggregate.decision === Decision.DECISION_ANOMALOUS,
    decision: Decision[aggregate.decision]?.replace('DECISION_', '').toLowerCase(),
    threshold: aggregate.threshold,
    maxFalsePositiveRate: aggregate.maxFalsePositiveRate,
    coverage: {
      scored: coverage?.scored ?? 0,
      skipped: coverage?.skipped ?? 0,
      failed: coverage?.failed ?? 0,
      missing: coverage?.missing ?? 0,
    },
    topPatches: aggregate.topPatches,
    timings,
    warnings: aggregate.warnings.map((warning) => warning.message),
    latencyMs,
  };
}

function printFailure(file: string, error: unknown, json: boolean): void {
  const line =
    error instanceof SaladClientError
      ? { status: error.status, reason: error.reason ?? null, message: error.message }
      : {
          status: null,
          reason: error instanceof SaladError ? error.reason : null,
          message: String((error as Error).message ?? error),
        };
  if (json) printJson({ event: 'error', file, ...line });
  note(`salad: ${file}: ${line.message}`);
}

function scoreTable(entries: readonly ScoreReportEntry[]): string {
  return table(
    ['file', 'image score', 'p-value', 'decision', 'scored/skipped/failed/missing', 'ms'],
    entries.map(({ file, aggregate, latencyMs }) => [
      file,
      aggregate.imageScore.toFixed(3),
      aggregate.pValue.toFixed(4),
      Decision[aggregate.decision]?.replace('DECISION_', '').toLowerCase() ?? '',
      [
        aggregate.coverage?.scored,
        aggregate.coverage?.skipped,
        aggregate.coverage?.failed,
        aggregate.coverage?.missing,
      ].join('/'),
      latencyMs.toFixed(0),
    ]),
  );
}
