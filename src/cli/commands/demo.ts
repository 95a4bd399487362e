import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  AnomalyMapFormat,
  Source,
  VoiFunction,
} from '../../../clients/typescript/src/index.js';
import { ENGINE_NAMES } from '../../engines/engine.js';
import { type LesionKind, makePhantom, type Phantom } from '../../phantom/phantom.js';
import type { ProgramContext } from '../shared/context.js';
import { note, print, printJson } from '../shared/output.js';
import { type RawImage, rowChunks } from '../shared/pixel-source.js';
import { openSession, type Session } from '../shared/session.js';
import { LiveGrid } from './live-grid.js';
import { aggregateJson } from './score.js';
import { writeScoreReport } from './score-report.js';

interface DemoFlags {
  readonly seed: string;
  readonly lesion: LesionKind | 'none';
  readonly rowsPerSecond: string;
  readonly out: string;
  readonly engine?: string;
  readonly json?: boolean;
}

export function registerDemo(program: Command, context: ProgramContext): void {
  program
    .command('demo')
    .description('stream a phantom radiograph with a known lesion through the gRPC port, as a modality would')
    .option('--seed <n>', 'which patient', '20260')
    .addOption(
      new Option('--lesion <kind>')
        .choices(['nodule', 'consolidation', 'effusion', 'device', 'none'])
        .default('consolidation'),
    )
    .option('--rows-per-second <n>', 'detector pace', '256')
    .option('--out <dir>', 'where the anomaly map and the report go', 'out/demo')
    .option('--engine <name>', `auto or ${ENGINE_NAMES.join(', ')}`)
    .option('--json', 'JSON Lines, also in a terminal')
    .addHelpText(
      'after',
      `
Examples:
  npm run demo                                  from a fresh clone: installs, builds, runs
  npm run -s demo -- --json                     patch lines, then one aggregate line
  salad demo --lesion effusion --seed 7         another lesion in another patient`,
    )
    .action((flags: DemoFlags) => demo(flags, context));
}

async function demo(flags: DemoFlags, context: ProgramContext): Promise<void> {
  const phantom = makePhantom({ seed: Number(flags.seed), lesion: flags.lesion });
  const live = process.stdout.isTTY && !flags.json;
  if (live)
    print(
      `A ${phantom.rows}x${phantom.columns} phantom (seed ${flags.seed}, lesion ${flags.lesion}) at ${flags.rowsPerSecond} rows/s:`,
    );
  const session = await openSession({
    environment: context.environment,
    ...(flags.engine ? { engine: flags.engine } : {}),
  });
  try {
    const started = performance.now();
    const aggregate = await streamPhantom(session, phantom, flags, live);
    const latencyMs = performance.now() - started;
    const file = `phantom-${flags.lesion}-${flags.seed}`;
    const map = join(flags.out, 'anomaly-map.png');
    const report = join(flags.out, 'report.html');
    const overlay = aggregate.anomalyMap?.data;
    await mkdir(flags.out, { recursive: true });
    if (overlay) await writeFile(map, overlay);
    await writeScoreReport(report, [{ file, aggregate, latencyMs, overlay }]);
    const topPatchOnLesion = phantom.lesion ? isTopPatchOnLesion(aggregate, phantom) : null;
    if (live) printSummary(aggregate, topPatchOnLesion, { map, report });
    else
      printJson({ ...aggregateJson(file, aggregate, latencyMs), anomalyMap: map, report, topPatchOnLesion });
  } finally {
    await session.close();
  }
}

/** Rows at detector pace; patch scores are shown while rows are still being sent. */
async function streamPhantom(
  session: Session,
  phantom: Phantom,
  flags: DemoFlags,
  live: boolean,
): Promise<AcquisitionAggregate> {
  const image: RawImage = {
    rows: phantom.rows,
    columns: phantom.columns,
    bitsAllocated: 16,
    samples: new Uint8Array(phantom.samples.buffer, phantom.samples.byteOffset, phantom.samples.byteLength),
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
    options: { patchScores: true, anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY },
  };
  let grid: LiveGrid | undefined;
  return session.client.scoreAcquisition(header, rowChunks(image, 8, Number(flags.rowsPerSecond)), {
    timeoutMs: 60_000,
    onEvent(event: AcquisitionEvent) {
      if (event.type === 'accepted' && live) {
        grid = new LiveGrid(
          event.accepted.geometry?.patchRows ?? 0,
          event.accepted.geometry?.patchColumns ?? 0,
          process.stdout,
        );
        grid.draw('waiting for the first rows');
      } else if (event.type === 'patches') {
        for (const { row, column, score, robustZ, pValue } of event.patches) {
          if (grid) grid.set(row, column, robustZ);
          else printJson({ event: 'patch', file: header.acquisitionId, row, column, score, robustZ, pValue });
        }
        grid?.draw(
          'scores arrive while rows are still being sent (blue: normal, red: robust z of 6 and above)',
        );
      }
    },
  });
}

/** Whether the box of the highest patch touches the lesion's mask. */
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
    `image score  ${aggregate.imageScore.toFixed(2)} (threshold ${aggregate.threshold.toFixed(2)}), p = ${aggregate.pValue.toFixed(4)}`,
  );
  print(
    `coverage     ${coverage?.scored} scored, ${coverage?.skipped} background, ${coverage?.failed} failed, ${coverage?.missing} missing`,
  );
  print(
    `first score  ${timings?.firstScoreMs?.toFixed(0)} ms after the header; all done after ${timings?.totalMs.toFixed(0)} ms`,
  );
  if (topPatchOnLesion !== null)
    print(`top patch    ${topPatchOnLesion ? 'on the lesion' : 'NOT on the lesion'}`);
  print(`anomaly map  ${paths.map}`);
  print(`report       ${paths.report}`);
  note('Next: npm run -s salad -- --help');
}
