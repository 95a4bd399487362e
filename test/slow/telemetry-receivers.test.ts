import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import { root } from '../support/root.js';
import { scoreSmall } from '../support/servers/scored.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

const ACQUISITIONS = 5;
const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT_ID = '00f067aa0ba902b7';
const TILES = 16;

interface Programs {
  readonly promtool: string;
  readonly prometheus: string;
  readonly collector: string;
}

interface Sample {
  readonly metric: Record<string, string>;
  /** Unix time, and the number as text. */
  readonly value: readonly [number, string];
}

async function freePorts(count: number): Promise<number[]> {
  const sockets = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const socket of sockets) {
    await new Promise<void>((done) => socket.listen(0, '127.0.0.1', done));
    const address = socket.address();
    if (address !== null && typeof address === 'object') ports.push(address.port);
  }
  for (const socket of sockets) await new Promise((done) => socket.close(done));
  return ports;
}

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const giveUp = performance.now() + 60_000;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      if (performance.now() > giveUp) throw error;
    }
    assert.ok(performance.now() < giveUp, what);
    await sleep(200);
  }
}

describe('a real Prometheus and a real OpenTelemetry collector', function () {
  // The collector is built where it is not there yet.
  this.timeout(900_000);
  const folder = mkdtempSync(join(tmpdir(), 'salad-receivers-'));
  const running: ChildProcess[] = [];
  let programs: Programs;
  let models: ModelsFolder;
  let server: ServeProcess;
  let prometheusAt = '';
  let metricsAt = '';
  let collected = '';

  const start = (program: string, ...args: readonly string[]): ChildProcess => {
    const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    running.push(child);
    return child;
  };
  const query = async (expression: string): Promise<readonly Sample[]> => {
    const url = `http://${prometheusAt}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const answer = (await (await fetch(url)).json()) as { data: { result: readonly Sample[] } };
    return answer.data.result;
  };
  const value = async (expression: string) => Number((await query(expression))[0]?.value[1] ?? Number.NaN);

  function startCollector(port: number): void {
    const config = join(folder, 'collector.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
        exporters: { debug: { verbosity: 'detailed' } },
        service: {
          telemetry: { metrics: { level: 'none' } },
          pipelines: { traces: { receivers: ['otlp'], exporters: ['debug'] } },
        },
      }),
    );
    const child = start(programs.collector, '--config', config);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        collected += text;
      });
    }
  }

  function startPrometheus(): void {
    const config = join(folder, 'prometheus.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        global: { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' },
        rule_files: [join(root, 'helm/salad-serve/files/alerts.yaml')],
        scrape_configs: [{ job_name: 'salad', static_configs: [{ targets: [metricsAt] }] }],
      }),
    );
    const child = start(
      programs.prometheus,
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'tsdb')}`,
      `--web.listen-address=${prometheusAt}`,
    );
    for (const stream of [child.stdout, child.stderr]) stream?.resume();
  }

  before(async function () {
    if (!existsSync('/usr/bin/apt-get')) {
      console.log('    skipped: Prometheus comes out of a Debian package');
      this.skip();
    }
    const script = join(root, 'scripts/telemetry/receivers.mjs');
    programs = JSON.parse(
      execFileSync(process.execPath, [script], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }),
    ) as Programs;
    models = await smallModels();
    const [otlp, prometheus, metrics] = await freePorts(3);
    prometheusAt = `127.0.0.1:${prometheus}`;
    metricsAt = `127.0.0.1:${metrics}`;
    startCollector(otlp as number);
    await until('the collector is ready', () => collected.includes('Everything is ready'));
    const environment = {
      SALAD_METRICS_LISTEN: metricsAt,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${otlp}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    };
    server = await startServeUnder(
      { environment },
      ...['--models', models.path, '--engine', 'onnx', '--workers', '1'],
    );
    startPrometheus();
    const client = new SaladClient(server.address, {
      metadata: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` },
    });
    for (let seed = 0; seed < ACQUISITIONS; seed++) {
      await scoreSmall(client, `patient-name-like-${seed}`, seed, { durationMs: 0 });
    }
    client.close();
  });
  after(async () => {
    await server?.stop('SIGKILL');
    for (const child of running) {
      const exited = child.exitCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGKILL');
      await exited;
    }
    await models?.remove();
    rmSync(folder, { recursive: true });
  });

  it('promtool finds nothing wrong with the metrics page', async () => {
    const input = await (await fetch(`http://${metricsAt}/metrics`)).text();
    assert.match(input, /salad_acquisition_duration_bucket/);
    // It exits 3 where it finds something, which throws.
    const said = execFileSync(programs.promtool, ['check', 'metrics'], { input, encoding: 'utf8' });
    assert.equal(said.trim(), '');
  });

  it('Prometheus scrapes the server, answers for it, and has no alert to raise', async () => {
    await until('Prometheus has seen every acquisition', async () => {
      return (await value('sum(salad_acquisition_duration_count{job="salad"})')) === ACQUISITIONS;
    });
    assert.equal(await value('up{job="salad"}'), 1);
    const patches = await query('sum by (salad_model, salad_outcome) (salad_patches_total)');
    assert.deepEqual(
      patches.map(({ metric, value: [, count] }) => [metric['salad_model'], metric['salad_outcome'], count]),
      [['small@1', 'scored', String(ACQUISITIONS * TILES * 4)]],
    );
    const p99 = await value('histogram_quantile(0.99, sum by (le) (salad_acquisition_duration_bucket))');
    assert.ok(p99 > 0 && p99 <= 60, `${p99} s`);
    assert.deepEqual(await query('ALERTS'), []);
  });

  it("the collector has every acquisition in the client's trace, and batches linked to them", async () => {
    assert.equal(await server.stop(), 0);
    const spans = collected.split(/\nSpan #\d+\n/).slice(1);
    const acquisitions = spans.filter((span) => /^ +Name +: salad\.v1\..*StreamAcquisition$/m.test(span));
    assert.equal(acquisitions.length, ACQUISITIONS);
    for (const span of acquisitions) {
      assert.match(span, new RegExp(`^ +Trace ID +: ${TRACE_ID}$`, 'm'));
      assert.match(span, new RegExp(`^ +Parent ID +: ${PARENT_ID}$`, 'm'));
    }
    const ids = acquisitions.map((span) => /^ +ID +: (\w+)$/m.exec(span)?.[1]);
    for (const name of ['queue', 'engine', 'aggregate']) {
      const children = spans.filter(
        (span) =>
          new RegExp(`^ +Name +: ${name}$`, 'm').test(span) &&
          ids.includes(/^ +Parent ID +: (\w+)$/m.exec(span)?.[1]),
      );
      assert.equal(children.length, ACQUISITIONS, name);
    }
    const batches = spans.filter((span) => /^ +Name +: batch$/m.test(span));
    const linked = batches.flatMap((span) =>
      [...span.slice(span.indexOf('Links:')).matchAll(/-> ID: (\w+)/g)].map(([, id]) => id),
    );
    assert.deepEqual(new Set(linked), new Set(ids));
    assert.doesNotMatch(collected, /patient-name-like/);
  });
});
