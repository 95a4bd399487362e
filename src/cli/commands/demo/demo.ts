/** `salad demo`: streams a synthetic radiograph row by row, as a detector does, and prints its scores. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  AnomalyMapFormat,
  Source,
  VoiFunction,
} from '../../../../clients/typescript/src/index.js';
import { pictureLayers } from '../../../imaging/map/map-drawing.js';
import { defaultPixelFormat } from '../../../imaging/pixel-format/pixel-format.js';
import { LESION_KINDS, type LesionKind, makePhantom, type Phantom } from '../../../phantom/phantom.js';
import { shippedModels } from '../../../util/package-root.js';
import type { ProgramContext } from '../../shared/context.js';
import { engineOption, MAX_TIMER_MS, numberFrom, wholeNumber } from '../../shared/flags.js';
import { helpText } from '../../shared/help.js';
import { runInterruptible } from '../../shared/interrupt.js';
import { note, print, printable, printJson } from '../../shared/output.js';
import { prepareFolder } from '../../shared/output-files.js';
import { type RawImage, rowChunks } from '../../shared/pixel-source.js';
import { openSession, type Session } from '../../shared/session.js';
import { MAX_SEED } from '../phantom.js';
import { drawnMapOf, overlayWithLegendPng, type SourcePixels } from '../score/drawing.js';
import { writeScoreReport } from '../score/report.js';
import { aggregateJson, decisionName } from '../score/results.js';
import { LiveGrid } from './live-grid.js';

interface DemoFlags {
  readonly seed: number;
  readonly lesion: LesionKind | 'none';
  readonly rowsPerSecond: number;
  readonly out: string;
  readonly engine?: string;
  readonly json?: boolean;
}

export function registerDemo(program: Command, context: ProgramContext): void {
  program
    .command('demo')
    .summary('score a synthetic radiograph with a known lesion, row by row')
    .description(
      'Creates a synthetic chest radiograph with a lesion, starts a server, streams the image row by row to its gRPC ' +
        'port, as a detector does, and shows the scores while rows are still being sent.',
    )
    .option('--seed <n>', 'seed of the synthetic patient', wholeNumber(0, MAX_SEED), 20260)
    .addOption(
      new Option('--lesion <kind>', 'lesion in the radiograph')
        .choices([...LESION_KINDS, 'none'])
        .default('consolidation'),
    )
    .option(
      '--rows-per-second <n>',
      'pace of the detector; 0: as fast as possible',
      numberFrom(0, 1_000_000),
      256,
    )
    .option('--out <dir>', 'folder for the anomaly map and the report', 'out/demo')
    .addOption(engineOption('inference engine'))
    .option('--json', 'print JSON Lines: every patch, then the result')
    .addHelpText(
      'after',
      helpText(
        [],
        [
          ['salad demo', 'the default lesion and patient'],
          ['salad demo --lesion effusion --seed 7', 'another lesion in another patient'],
          ['salad demo --json | tail -1', 'only the result, for a program'],
          ['npm run demo', 'in a fresh clone: installs, builds and runs'],
        ],
      ),
    )
    .action((flags: DemoFlags) => runInterruptible((signal) => demo(flags, context, signal)));
}

async function demo(flags: DemoFlags, context: ProgramContext, signal: AbortSignal): Promise<void> {
  await prepareFolder('--out', flags.out);
  const phantom = makePhantom({ seed: flags.seed, lesion: flags.lesion });
  if (!flags.json) {
    const lesion = flags.lesion === 'none' ? 'no lesion' : `lesion ${flags.lesion}`;
    const pace = flags.rowsPerSecond === 0 ? '' : `, ${flags.rowsPerSecond} rows/s`;
    print(`Synthetic radiograph ${phantom.rows}x${phantom.columns} (seed ${flags.seed}, ${lesion})${pace}:`);
  }
  const session = await openSession({
    model: 'phantom',
    // SALAD_MODELS may name a folder without the phantom model.
    models: shippedModels(),
    environment: context.environment,
    signal,
    ...(flags.engine === undefined ? {} : { engine: flags.engine }),
  });
  try {
    const startMs = performance.now();
    const aggregate = await streamPhantom(session, phantom, flags, signal);
    const latencyMs = performance.now() - startMs;
    const file = `phantom-${flags.lesion}-${flags.seed}`;
    const map = join(flags.out, 'anomaly-map.png');
    const report = join(flags.out, 'report.html');
    const drawn = drawnMapOf(sourceOf(phantom), aggregate);
    await writeFile(map, await overlayWithLegendPng(drawn, aggregate));
    await writeScoreReport(report, [{ file, aggregate, latencyMs, layers: await pictureLayers(drawn) }]);
    const topPatchOnLesion = phantom.lesion ? isTopPatchOnLesion(aggregate, phantom) : null;
    if (flags.json) {
      printJson({
        ...aggregateJson({ file, aggregate, latencyMs }),
        anomalyMap: map,
        report,
        topPatchOnLesion,
      });
    } else printSummary(aggregate, topPatchOnLesion, { map, report });
  } catch (error) {
    throw session.explain(error);
  } finally {
    await session.close();
  }
}

/** The samples of the phantom with its window, as they are sent. */
function sourceOf({ rows, columns, samples, window }: Phantom): SourcePixels {
  return {
    format: {
      ...defaultPixelFormat(rows, columns, 16, 12),
      voi: { kind: 'window', ...window, function: 'linear' },
    },
    samples: new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength),
  };
}

/** Sends rows at the pace of the detector and shows patch scores while rows are still being sent. */
async function streamPhantom(
  session: Session,
  phantom: Phantom,
  flags: DemoFlags,
  signal: AbortSignal,
): Promise<AcquisitionAggregate> {
  const image: RawImage = {
    rows: phantom.rows,
    columns: phantom.columns,
    bitsAllocated: 16,
    samples: sourceOf(phantom).samples,
  };
  const { center, width } = phantom.window;
  const header = {
    acquisitionId: `demo-${flags.seed}`,
    model: { name: 'phantom' },
    image: {
      rows: image.rows,
      columns: image.columns,
      bitsAllocated: 16,
      bitsStored: 12,
      voi: {
        transform: {
          $case: 'window' as const,
          value: { center, width, function: VoiFunction.VOI_FUNCTION_LINEAR },
        },
      },
    },
    source: Source.SOURCE_ROWS,
    options: { patchScores: true, anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32 },
  };
  let grid: LiveGrid | undefined;
  // The deadline depends on the pace: sending slowly may take longer than any fixed deadline.
  const sendingMs = flags.rowsPerSecond === 0 ? 0 : (1000 * image.rows) / flags.rowsPerSecond;
  return session.client.scoreAcquisition(header, rowChunks(image, 8, flags.rowsPerSecond), {
    timeoutMs: Math.min(MAX_TIMER_MS, 60_000 + sendingMs),
    signal,
    onEvent(event: AcquisitionEvent) {
      if (event.type === 'accepted' && process.stdout.isTTY && !flags.json) {
        grid = new LiveGrid(
          event.accepted.geometry?.patchRows ?? 0,
          event.accepted.geometry?.patchColumns ?? 0,
          process.stdout,
        );
        grid.draw('waiting for the first scores');
      } else if (event.type === 'patches') {
        for (const { row, column, score, robustZ, pValue } of event.patches) {
          if (grid) grid.set(row, column, robustZ);
          else if (flags.json)
            printJson({ event: 'patch', file: header.acquisitionId, row, column, score, robustZ, pValue });
        }
        grid?.draw('scores arrive while rows are sent (blue: like normal images, red: unlike them)');
      }
    },
  });
}

/** Whether the box of the highest-scoring patch overlaps the lesion's mask. */
function isTopPatchOnLesion(aggregate: AcquisitionAggregate, phantom: Phantom): boolean {
  const box = aggregate.topPatches[0]?.box;
  if (!box || !phantom.lesion) return false;
  for (let row = Math.floor(box.top); row < Math.ceil(box.bottom); row++) {
    for (let column = Math.floor(box.left); column < Math.ceil(box.right); column++) {
      if (phantom.lesion.mask[row * phantom.columns + column]) return true;
    }
  }
  return false;
}

function printSummary(
  aggregate: AcquisitionAggregate,
  topPatchOnLesion: boolean | null,
  paths: { readonly map: string; readonly report: string },
): void {
  const { coverage, timings } = aggregate;
  print();
  print(
    `decision     ${decisionName(aggregate)} at a false-positive rate of ${Number(aggregate.maxFalsePositiveRate.toPrecision(3))}`,
  );
  print(
    `image score  ${aggregate.imageScore.toFixed(2)} (threshold ${aggregate.threshold.toFixed(2)}), p = ${aggregate.pValue.toFixed(4)}`,
  );
  print(
    `patches      ${coverage?.scored} scored, ${coverage?.skipped} background, ${coverage?.failed} failed, ${coverage?.missing} missing`,
  );
  print(
    `first score  ${timings?.firstScoreMs?.toFixed(0)} ms after the start; last score after ${timings?.totalMs.toFixed(0)} ms`,
  );
  if (topPatchOnLesion !== null) {
    print(`top patch    ${topPatchOnLesion ? 'on the lesion' : 'NOT on the lesion'}`);
  }
  for (const { message } of aggregate.warnings) print(`warning      ${printable(message)}`);
  print(`anomaly map  ${printable(paths.map)}`);
  print(`report       ${printable(paths.report)}`);
  note('next: salad --help (in a checkout: npm run -s salad -- --help)');
}
