import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'mocha';
import sharp from 'sharp';
import type { RequestRecord } from '../../clients/load/src/index.js';
import type { LoadReport } from '../../src/cli/commands/load/report.js';
import { type DnsServer, startDnsServer } from '../support/network/dns-server.js';
import { type KubernetesObject, render } from '../support/programs/chart.js';
import { type ServeProcess, saladUnder, startServeUnder } from '../support/programs/salad.js';
import { type ModelsFolder, SIDE, smallImage, smallModels } from '../support/servers/small-server.js';

const SERVICE = 'ci-salad-serve-headless';
const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;
const GENERATORS = 2;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

/** Acquisitions that a server has completed. */
async function completed(metrics: string): Promise<number> {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  const counts = [...text.matchAll(/^salad_acquisition_duration(?:_seconds)?_count(?:\{[^}]*\})? (\d+)/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

describe('the load test of the chart, at two servers behind one name', function () {
  this.timeout(180_000);
  let models: ModelsFolder;
  let folder: string;
  /** The volume of the results. */
  let results: string;
  let dns: DnsServer;
  let port: string;
  const servers: { readonly serve: ServeProcess; readonly metrics: string }[] = [];

  before(async () => {
    models = await smallModels();
    folder = mkdtempSync(join(tmpdir(), 'salad-results-'));
    for (const host of HOSTS) {
      const metrics = `127.0.0.1:${await freePort()}`;
      const environment = { SALAD_METRICS_LISTEN: metrics };
      // The pods of a service have one port.
      const listen = ['--listen', `${host}:${servers.length === 0 ? 0 : port}`];
      const flags = ['--models', models.path, '--engine', 'onnx', '--workers', '1', ...listen];
      const serve = await startServeUnder({ environment }, ...flags);
      port = serve.address.split(':').at(-1) ?? '';
      servers.push({ serve, metrics });
    }
    dns = await startDnsServer(SERVICE, () => HOSTS);
  });
  beforeEach(() => {
    results = mkdtempSync(join(folder, 'results-'));
  });
  after(async () => {
    for (const { serve } of servers) await serve.stop();
    await dns.close();
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  /** Arguments of the two Jobs. */
  async function jobsOf(loadTest: object): Promise<readonly [readonly string[], readonly string[]]> {
    const objects = await render({
      tls: { mode: 'plaintext' },
      loadTest: { enabled: true, model: 'small', size: SIDE, alignStartSeconds: 2, ...loadTest },
    });
    const jobs = objects.filter(({ kind }) => kind === 'Job') as KubernetesObject[];
    const [load, merge] = jobs.map(
      (job) => job['spec'].template.spec.containers[0].args as readonly string[],
    );
    assert.ok(jobs.length === 2 && load && merge && load.includes(`dns:///${SERVICE}:50051`));
    return [load, merge];
  }

  /** Runs a Job's command with what a cluster gives: the index of a pod, the mounted claims, the DNS server. */
  function run(args: readonly string[], index = 0) {
    return saladUnder(
      { GRPC_NODE_USE_ALTERNATIVE_RESOLVER: 'true' },
      ...args.map((arg) =>
        arg
          .replaceAll('$(JOB_COMPLETION_INDEX)', String(index))
          .replace(/^\/results\//, `${results}/`)
          .replace(/^\/images$/, `${folder}/images`)
          .replace(`dns:///${SERVICE}:50051`, `dns://${dns.authority}/${SERVICE}:${port}`),
      ),
    );
  }

  it('loads both servers alike, and its second Job adds the reports', async () => {
    const [load, merge] = await jobsOf({
      ...{ streams: 8, durationSeconds: 4, generators: GENERATORS },
      results: { claimName: 'results', waitSeconds: 60 },
    });
    const [merged, ...generators] = await Promise.all([
      run(merge),
      ...Array.from({ length: GENERATORS }, (_, index) => run(load, index)),
    ]);
    for (const { code, stderr } of [merged, ...generators]) assert.equal(code, 0, stderr);
    assert.ok(dns.asked >= GENERATORS);

    const report = merged.lines[0] as unknown as LoadReport;
    const parts = generators.map(({ lines }) => lines[0] as unknown as LoadReport);
    assert.equal(
      report.acquisitions.ok,
      parts.reduce((sum, { acquisitions }) => sum + acquisitions.ok, 0),
    );
    assert.equal(report.tilesPerStream?.length, 8);
    const out = merge[merge.indexOf('--out') + 1]?.replace(/^\/results\//, `${results}/`) ?? '';
    assert.deepEqual(JSON.parse(readFileSync(out, 'utf8')), report);

    const counts = await Promise.all(servers.map(({ metrics }) => completed(metrics)));
    const total = counts.reduce((sum, count) => sum + count, 0);
    assert.ok(total >= report.acquisitions.ok && report.acquisitions.ok >= 8, `${report.acquisitions.ok}`);
    // The calls of each stream alternate between the servers.
    for (const count of counts) assert.ok(count / total > 0.4, `${counts.join(' and ')} acquisitions`);
  });

  it('sends the images of a claim, and writes a line for every acquisition beside the report', async () => {
    mkdirSync(join(folder, 'images'));
    const names = ['1.png', '2.png'];
    for (const [index, name] of names.entries()) {
      const raw = { width: SIDE, height: SIDE, channels: 1 } as const;
      writeFileSync(join(folder, 'images', name), await sharp(smallImage(index), { raw }).png().toBuffer());
    }
    const [load, merge] = await jobsOf({
      ...{ mode: 'image', files: { claimName: 'images' }, streams: 2, durationSeconds: 1 },
      results: { claimName: 'results', requests: 'jsonl', waitSeconds: 60 },
    });
    for (const args of [load, merge]) {
      const { code, stderr } = await run(args);
      assert.equal(code, 0, stderr);
    }
    const file = load[load.indexOf('--jsonl') + 1]
      ?.replace(/^\/results/, results)
      .replace('$(JOB_COMPLETION_INDEX)', '0');
    const records = readFileSync(file ?? '', 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as RequestRecord);
    assert.deepEqual([...new Set(records.map((record) => record.file))].sort(), names);
    assert.ok(records.every(({ status }) => status === 'OK'));
  });
});
