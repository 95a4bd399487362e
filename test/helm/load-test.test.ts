import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { LoadReport } from '../../src/cli/commands/load/report.js';
import { type KubernetesObject, render } from '../support/chart.js';
import { type DnsServer, startDnsServer } from '../support/dns-server.js';
import { type ServeProcess, saladUnder, startServeUnder } from '../support/salad.js';
import { type ModelsFolder, SIDE, smallModels } from '../support/small-server.js';

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
  after(async () => {
    for (const { serve } of servers) await serve.stop();
    await dns.close();
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  it('loads both servers alike, and its second Job adds the reports', async () => {
    const objects = await render({
      tls: { mode: 'plaintext' },
      loadTest: {
        ...{ enabled: true, model: 'small', size: SIDE, streams: 8, durationSeconds: 4 },
        ...{
          generators: GENERATORS,
          alignStartSeconds: 2,
          results: { claimName: 'results', waitSeconds: 60 },
        },
      },
    });
    const jobs = objects.filter(({ kind }) => kind === 'Job') as KubernetesObject[];
    assert.equal(jobs.length, 2);
    const [load, merge] = jobs.map(
      (job) => job['spec'].template.spec.containers[0].args as readonly string[],
    );
    assert.ok(load && merge && load.includes(`dns:///${SERVICE}:50051`));
    // What a cluster does: the index of a pod, the mounted claim, and the address of the DNS server.
    const run = (args: readonly string[], index = 0) =>
      saladUnder(
        { GRPC_NODE_USE_ALTERNATIVE_RESOLVER: 'true' },
        ...args.map((arg) =>
          arg
            .replaceAll('$(JOB_COMPLETION_INDEX)', String(index))
            .replace(/^\/results\//, `${folder}/`)
            .replace(`dns:///${SERVICE}:50051`, `dns://${dns.authority}/${SERVICE}:${port}`),
        ),
      );
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
    const out = merge[merge.indexOf('--out') + 1]?.replace(/^\/results\//, `${folder}/`) ?? '';
    assert.deepEqual(JSON.parse(readFileSync(out, 'utf8')), report);

    const counts = await Promise.all(servers.map(({ metrics }) => completed(metrics)));
    const total = counts.reduce((sum, count) => sum + count, 0);
    assert.ok(total >= report.acquisitions.ok && report.acquisitions.ok >= 8, `${report.acquisitions.ok}`);
    // The calls of each stream alternate between the servers.
    for (const count of counts) assert.ok(count / total > 0.4, `${counts.join(' and ')} acquisitions`);
  });
});
