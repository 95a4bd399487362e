import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type { LoadReport, StepReport } from '../../src/cli/commands/load/report.js';
import type { RunningServer } from '../../src/server/server.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import {
  type ModelsFolder,
  SIDE,
  smallImage,
  smallModels,
  startSmall,
} from '../support/servers/small-server.js';

describe('salad load', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);
  const load = (...args: string[]) =>
    runSalad('load', '--target', server.address, '--size', String(SIDE), '--warm-up', '0', ...args);
  const reportOf = ({ lines }: { lines: readonly unknown[] }) => lines[0] as LoadReport;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
    folder = mkdtempSync(join(tmpdir(), 'salad-load-'));
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  it('writes a report with settings, the identity of the server, a time series and figures of the generator', async () => {
    const times = ['--duration', '1.2', '--window', '0.4'];
    const run = await load('--streams', '2', ...times, '--json', '--out', at('report.json'));
    assert.equal(run.code, 0, run.stderr);
    const report = reportOf(run);
    assert.deepEqual(JSON.parse(readFileSync(at('report.json'), 'utf8')), report);
    assert.equal(report.server.target, server.address);
    const [model] = report.server.models;
    assert.deepEqual([model?.name, model?.version, model?.engine], ['small', 1, 'onnx']);
    assert.match(model?.bundleSha256 ?? '', /^[0-9a-f]{64}$/);
    assert.deepEqual(
      [report.settings['streams'], report.settings['duration'], report.settings['model']],
      [2, 1.2, 'small'],
    );
    assert.ok(Math.abs(Date.parse(report.startedAt) - Date.now()) < 60_000);
    assert.equal(report.series.length, 3);
    const ended = report.series.reduce((sum, { ok }) => sum + ok, 0);
    // What was still running at the end of the measured time ended after the last window.
    assert.ok(report.acquisitions.ok - ended >= 0 && report.acquisitions.ok - ended <= 2, `${ended}`);
    assert.equal(report.generator.startLateness.count, report.acquisitions.ok);
    assert.ok(report.generator.cpuCores > 0 && report.generator.eventLoopUtilization <= 1);
  });

  it('writes every acquisition as CSV and as JSON lines', async () => {
    const files = ['--csv', at('requests.csv'), '--jsonl', at('requests.jsonl')];
    const run = await load('--rate', '40', '--duration', '1', '--seed', '3', '--json', ...files);
    assert.equal(run.code, 0, run.stderr);
    const { ok } = reportOf(run).acquisitions;
    const [header = '', ...rows] = readFileSync(at('requests.csv'), 'utf8').trimEnd().split('\n');
    assert.ok(ok > 10);
    assert.equal(rows.length, ok);
    const columns = header.split(',');
    const records = readFileSync(at('requests.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const [index, record] of records.entries()) {
      const cells = rows[index]?.split(',') ?? [];
      assert.equal(cells[columns.indexOf('id')], record['id']);
      assert.deepEqual([record['status'], record['scoredTiles']], ['OK', 16]);
      assert.ok(Math.abs(Number(cells[columns.indexOf('latencyMs')]) - Number(record['latencyMs'])) < 0.001);
    }
    const again = await load('--duration', '0.2', '--csv', at('requests.csv'));
    assert.equal(again.code, 0, 'a list of requests may be replaced');
    writeFileSync(at('manifest.json'), '{\n  "name": "mine"\n}');
    assert.equal((await load('--out', at('manifest.json'))).code, 2, 'other files are not replaced');
  });

  it('measures one rate after another, and ends after the first that violates an objective', async () => {
    const run = await load('--ramp', '20:60:20', '--duration', '0.5', '--slo', 'failed<1', '--json');
    assert.equal(run.code, 0, run.stderr);
    const report = reportOf(run);
    assert.deepEqual(
      report.steps?.map(({ step }) => step),
      [{ ratePerSecond: 20 }, { ratePerSecond: 40 }, { ratePerSecond: 60 }],
    );
    assert.equal(report.sustained, 2);
    assert.deepEqual(report.acquisitions, report.steps?.[2]?.acquisitions);

    const bad = await load('--ramp', '20:60:20', '--duration', '0.5', '--slo', 'tile.p50<0.001ms', '--json');
    assert.equal(bad.code, 1);
    assert.deepEqual([reportOf(bad).steps?.length, reportOf(bad).sustained], [1, null]);
    const table = await load('--sweep', '1,3', '--duration', '0.3');
    assert.match(table.stdout, /^1 stream .*\n3 streams /m);
    assert.match(table.stdout, /last step that met every objective: 3 streams/);
  });

  it('ends early when the figures are stable', async () => {
    // A tolerance that three windows with any acquisitions have.
    const stable = ['--stable', '100', '--window', '0.3', '--duration', '60', '--rate', '50'];
    const run = await load(...stable, '--json');
    const report = reportOf(run);
    assert.equal(run.code, 0, run.stderr);
    assert.equal(report.stable, true);
    assert.ok(report.seconds >= 0.9 && report.seconds < 50, `${report.seconds} s`);
  });

  it('mixes kinds by their weights, and sends images of files', async () => {
    for (const seed of [1, 2]) {
      const raw = { width: SIDE, height: SIDE, channels: 1 } as const;
      writeFileSync(at(`${seed}.png`), await sharp(smallImage(seed), { raw }).png().toBuffer());
    }
    const kinds = ['--mix', 'small,weight=3,mode=rows', '--mix', 'small@1,priority=stat,mode=image'];
    const files = ['--files', at('1.png'), at('2.png')];
    const run = await load(...kinds, ...files, '--duration', '1', '--jsonl', at('mix.jsonl'), '--json');
    assert.equal(run.code, 0, run.stderr);
    const records = readFileSync(at('mix.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { file: string; mode: string; model: string; status: string });
    assert.ok(records.every(({ status }) => status === 'OK'));
    assert.deepEqual([...new Set(records.map(({ file }) => file))].sort(), ['1.png', '2.png']);
    const [rows, images] = reportOf(run).kinds;
    assert.ok(rows && images && images.ok > 0);
    assert.ok(Math.abs(rows.ok - 3 * images.ok) <= 16, `${rows.ok} and ${images.ok}`);
    assert.ok(records.some(({ model, mode }) => model === 'small@1' && mode === 'image'));
  });

  it('adds the reports of several generators, and checks objectives again', async () => {
    for (const index of [0, 1]) {
      const share = ['--share', `${index}/2`, '--out', at(`part-${index}.json`)];
      const run = await load('--streams', '3', '--duration', '0.6', '--window', '0.1', ...share);
      assert.equal(run.code, 0, run.stderr);
    }
    const parts = [0, 1].map(
      (index) => JSON.parse(readFileSync(at(`part-${index}.json`), 'utf8')) as StepReport,
    );
    const [first, second] = parts.map(({ acquisitions, tilesPerStream }) => ({
      ok: acquisitions.ok,
      streams: tilesPerStream?.length,
    }));
    assert.deepEqual([first?.streams, second?.streams], [1, 2]);
    const paths = [at('part-0.json'), at('part-1.json')];
    const run = await runSalad('load', 'merge', ...paths, '--json', '--out', at('merged.json'));
    assert.equal(run.code, 0, run.stderr);
    const merged = reportOf(run);
    assert.equal(merged.acquisitions.ok, (first?.ok ?? 0) + (second?.ok ?? 0));
    assert.equal(merged.acquisitions.count, merged.acquisitions.ok);
    assert.equal(merged.tilesPerStream?.length, 3);
    assert.equal(merged.generator.processes, 2);
    // They ran one after the other, which is no common load.
    assert.match(merged.warnings.join(), /started .* apart/);
    const strict = await runSalad('load', 'merge', ...paths, '--slo', 'tile.p50<0.001ms');
    assert.equal(strict.code, 1);

    const missing = await runSalad('load', 'merge', ...paths, '--expect', '3', '--json');
    assert.equal(missing.code, 2);
    assert.match(JSON.stringify(missing.lines), /2 of 3 reports/);
    const other = await load('--streams', '5', '--duration', '0.3', '--out', at('other.json'));
    assert.equal(other.code, 0, other.stderr);
    const mixed = await runSalad('load', 'merge', paths[0] ?? '', at('other.json'));
    assert.equal(mixed.code, 2);
    assert.match(mixed.stderr, /are of different loads/);
  });

  it('compares two reports, and names the settings that differ', async () => {
    const short = ['--duration', '1', '--window', '0.1'];
    for (const [name, streams] of [
      ['a.json', '1'],
      ['b.json', '4'],
    ] as const) {
      const run = await load('--streams', streams, ...short, '--out', at(name));
      assert.equal(run.code, 0, run.stderr);
    }
    const run = await runSalad('load', 'diff', at('a.json'), at('b.json'), '--json');
    assert.equal(run.code, 0, run.stderr);
    const [comparison] = run.lines as unknown as [
      { metrics: Record<string, { a: number; b: number; ratio: number; ratioCi95: [number, number] }> } & {
        settings: Record<string, unknown>;
      },
    ];
    const change = comparison.metrics['acquisitionsPerSecond'];
    assert.ok(change && change.ratioCi95[0] <= change.ratio && change.ratio <= change.ratioCi95[1]);
    assert.deepEqual(comparison.settings, { streams: { a: 1, b: 4 } });
    const text = await runSalad('load', 'diff', at('a.json'), at('a.json'));
    assert.match(text.stdout, /^p99Ms .* 1\.000 .* no change shown$/m);
    const none = await runSalad('load', 'diff', at('a.json'), at('requests.csv'));
    assert.equal(none.code, 2);
    assert.match(none.stderr, /holds no report/);
  });

  it('refuses settings that do not fit each other', async () => {
    for (const args of [
      ['--ramp', '1:2:1', '--rate', '3'],
      ['--sweep', '1,2', '--streams', '3'],
      ['--mix', 'small', '--model', 'small'],
      ['--stable', '5', '--processes', '2'],
      ['--streams', '1', '--share', '0/2'],
      ['--duration', '80000', '--window', '0.1'],
      ['--files', at('nothing.png')],
      ['--files', folder, '--mode', 'tiles'],
      ['--mix', 'unknown-model'],
    ]) {
      const run = await load(...args);
      // A misspelt model is wrong usage, too.
      assert.equal(run.code, 2, `${args.join(' ')}: ${run.stdout}${run.stderr}`);
    }
  });
});
