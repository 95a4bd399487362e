/** The readable summary of a GPU run: a table for each part. */
import type { Figures, PartReport, Report } from './report.js';

export function summaryOf({ run, parts }: Report): string {
  const machine = run['machine'] as Figures;
  const vulkan = run['vulkan'] as Figures;
  const carried = vulkan['carriedLibraries'] as readonly string[];
  return [
    '# GPU run',
    '',
    `Commit ${run['commit']}, ${run['date']}${run['quick'] === true ? ', quick: the figures mean nothing' : ''}`,
    '',
    `- processor: ${machine['processor']}, ${machine['cores']} cores, ${machine['memoryGiB']} GiB`,
    `- GPU: ${String(machine['nvidiaSmi']).replaceAll('\n', '; ')}`,
    `- Vulkan driver: ${vulkan['driverManifest']}`,
    `- libraries that the machine lacks: ${carried.length === 0 ? 'none' : carried.join(', ')}`,
    '',
    ...table(
      ['part', 'status', 'seconds', 'limit', 'reason'],
      Object.entries(parts).map(([name, { status, seconds, limitSeconds, reason }]) => [
        name,
        status,
        figure(seconds),
        figure(limitSeconds),
        cell(reason),
      ]),
    ),
    ...Object.entries(parts).flatMap(([name, part]) => sectionOf(name, part)),
  ].join('\n');
}

function sectionOf(name: string, { results }: PartReport): readonly string[] {
  if (Object.keys(results).length === 0) return [];
  const lines = (SECTIONS[name] ?? (() => []))(results);
  return [`## ${name}`, '', ...lines];
}

const SECTIONS: Readonly<Record<string, (results: Figures) => readonly string[]>> = {
  doctor: (results) => [`Engine that serves under auto: ${results['engine']}`, ''],
  peak: (results) => {
    const { vendor, device, description } = results['adapter'] as Figures;
    return [
      `${[vendor, device, description].join(' ')}: ${figure(results['gigaFlops'])} GFLOP/s, float32 multiply-adds ` +
        `in registers (highest of ${results['launches']} launches; median ${figure(results['medianGigaFlops'])})`,
      '',
    ];
  },
  parity: (results) =>
    table(
      ['engine', 'device', 'golden scores', 'largest error', 'reason'],
      Object.entries(results).map(([engine, value]) => {
        const { device, bundles, maxAbsScoreError, reason } = value as Figures;
        const checks = Object.values((bundles ?? {}) as Figures).filter(
          (check) => check !== undefined,
        ) as Figures[];
        const passed = checks.filter((check) => check['passed'] === true).length;
        return [
          engine,
          device ?? '-',
          checks.length === 0 ? 'not checked' : `${passed} of ${checks.length} bundles`,
          typeof maxAbsScoreError === 'number' ? maxAbsScoreError.toExponential(1) : '-',
          cell(reason),
        ].map(String);
      }),
    ),
  curve: (results) => {
    const curves = Object.entries(results).filter(([, value]) => typeof value === 'object') as [
      string,
      Figures,
    ][];
    const ratesOf = (curve: Figures) => (curve['tilesPerSecond'] ?? {}) as Figures;
    const sizes = [...new Set(curves.flatMap(([, curve]) => Object.keys(ratesOf(curve))))];
    return [
      'Tiles per second by batch size, and the share of the peak at the best one, with search and encoder alone.',
      '',
      ...table(
        ['bundle', ...sizes, 'MMAC a tile', 'share', 'share, encoder'],
        curves.map(([bundle, curve]) => [
          bundle,
          ...sizes.map((size) => figure(ratesOf(curve)[size])),
          figure(Number(curve['convolutionMacsPerTile']) / 1e6),
          percent(curve['shareOfPeak']),
          percent(curve['encoderShareOfPeak']),
        ]),
      ),
    ];
  },
  failover: (results) => {
    const { lost, tookOver, failback, load, maxAbsScoreDifference } = results as Record<
      string,
      Figures | undefined
    >;
    return table(
      ['lost', 'took over', 'switch, ms', 'failback', 'acquisitions ok', 'failed', 'score difference'],
      [
        [
          lost?.['engine'],
          tookOver?.['engine'],
          figure(tookOver?.['switchMs']),
          failback === undefined ? 'no' : `after ${figure(failback['recoveryMs'])} ms of start`,
          figure(load?.['ok']),
          figure(load?.['failed']),
          figure(maxAbsScoreDifference),
        ].map((value) => String(value ?? '-')),
      ],
    );
  },
  serve: (results) => {
    const { engine, cores: _cores, ...bundles } = results;
    const rows = Object.entries(bundles).flatMap(([bundle, settings]) =>
      Object.entries(settings as Figures).map(([setting, value]) => {
        const measured = value as Figures;
        const names = [
          'imagesPerSecond',
          'tilesPerSecond',
          'p50Ms',
          'p99Ms',
          'failed',
          'refused',
          'batchFill',
        ];
        return [bundle, setting, ...names.map((name) => figure(measured[name]))];
      }),
    );
    const figures = ['images/s', 'tiles/s', 'p50 ms', 'p99 ms', 'failed', 'refused', 'batch fill'];
    return [`Engine ${engine}.`, '', ...table(['bundle', 'setting', ...figures], rows)];
  },
};

/** The first line of a text, in a cell of a table. */
function cell(text: unknown): string {
  const [line = ''] = String(text ?? '').split('\n');
  return line.replaceAll('|', '\\|');
}

/** A Markdown table and an empty line. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line), ''];
}

/** A number with three significant digits; a dash where it was not measured. */
function figure(value: unknown): string {
  if (typeof value !== 'number' || Number.isNaN(value)) return '-';
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function percent(value: unknown): string {
  return typeof value === 'number' ? `${figure(100 * value)} %` : '-';
}
