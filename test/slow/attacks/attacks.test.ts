/**
 * What an attacker without credentials does to a server in the chart's memory limit, while a good client scores images
 * beside it. Attackers speak HTTP/2 by the Python package h2, the good client is Python's grpcio: no code of ours.
 *
 * `SALAD_TEST_ATTACKS=a,b` makes only these attacks, `SALAD_TEST_ATTACKED=FOLDER` on another built checkout.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { loadConfig } from '../../../src/config/load.js';
import {
  attack,
  type GoodReport,
  installClients,
  limitMemory,
  type MemoryLimit,
  startGoodClient,
} from '../../support/attacks.js';
import { GARBAGE_BYTES, mostBytes } from '../../support/memory-formula.js';
import { rssBytes } from '../../support/process-memory.js';
import { root, type ServeProcess, startServeFrom } from '../../support/salad.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';

const MIB = 1024 * 1024;
const LIMIT_BYTES = 4096 * MIB;
const CALM_MS = 1000;
/** For the server to give back what warming up has left. */
const WARM_MS = 15_000;
const ATTACK_SECONDS = 4;
/** After which the memory of an attack is given back. */
const BACK_MS = 30_000;
const P99_MS = 1000;
/** Where the machine is slow by itself, an attack may make the good client's images take this many times longer. */
const P99_RATIO = 10;
/** Characters of `grpc-message`, percent-encoded. */
const LONGEST_MESSAGE = 1024;
const GOOD = '127.0.0.9';

/** Of test/slow/attacks/clients/attacks.py, which says what each does. */
const ATTACKS = [
  'health_gzip',
  'small_calls_gzip',
  'image_gzip',
  'many_small_gzip',
  'empty_tiles_first',
  'empty_tiles_after_header',
  'empty_tiles_plain',
  'long_lut',
  'tall_headers',
  'short_rows',
  'wide_headers',
  'many_luts',
  'held_messages',
  'full_windows',
  'windows_not_kept',
  'unread_answers',
  'idle_streams',
  'open_watches',
  'silent_connections',
  'open_and_reset',
  'calls_without_pause',
  'connections_without_pause',
  'tiny_messages',
  'empty_messages',
  'stat_flood',
  'image_flood',
  'long_names',
];
const chosen = process.env['SALAD_TEST_ATTACKS']?.split(',') ?? ATTACKS;
const attacked = process.env['SALAD_TEST_ATTACKED'] ?? root;

describe('attacks on a server in a limit of 4 GiB', function () {
  this.timeout(120_000);
  let limit: MemoryLimit;
  let allowed: number;
  let server: ServeProcess | undefined;
  let proxy: TcpProxy | undefined;
  /** Its memory when it is warm and idle. */
  let base = 0;

  /** 0 where the process is gone. */
  const rss = () => {
    try {
      return rssBytes(server?.process.pid ?? 0);
    } catch {
      return 0;
    }
  };
  const start = async () => {
    await proxy?.close();
    await server?.stop('SIGKILL');
    server = await startServeFrom(attacked, { under: limit.under }, '--engine', 'onnx');
    const port = Number(server.address.split(':').at(-1));
    // The good client has an address of its own.
    proxy = await startTcpProxy({ host: '127.0.0.1', port, localAddress: GOOD });
    const good = await startGoodClient(proxy.address);
    await sleep(CALM_MS);
    await good.report();
    good.stop();
    await sleep(WARM_MS);
    base = rss();
  };

  before(async function () {
    this.timeout(300_000);
    installClients();
    limit = limitMemory(LIMIT_BYTES);
    allowed = mostBytes(await loadConfig({ flags: {} }));
    console.log(`    memory is limited by ${limit.by}`);
  });
  after(async () => {
    await server?.stop('SIGKILL');
    await proxy?.close();
    limit.remove();
  });

  for (const [index, name] of chosen.entries()) {
    // One that has lost its connections is refused for a while.
    const source = `127.0.2.${index + 1}`;
    it(name, async () => {
      if (rss() === 0) await start();
      const good = await startGoodClient(proxy?.address ?? '');
      await sleep(CALM_MS);
      const calm = await good.report();
      let peak = 0;
      const watch = setInterval(() => {
        peak = Math.max(peak, rss());
        limit.check(server?.process.pid ?? 0, rss());
      }, 20);
      const said = await attack(name, server?.address ?? '', { source, seconds: ATTACK_SECONDS });
      const [during] = await Promise.all([reportOf(good.report()), sleep(100)]);
      clearInterval(watch);
      good.stop();
      const back = await memoryBack();
      const figures = { peak, back, base, allowed: base + allowed };
      const mib = Object.entries(figures).map(([key, bytes]) => `${key} ${(bytes / MIB).toFixed(0)} MiB`);
      console.log(`    ${name}: ${mib.join(', ')}; good before ${JSON.stringify(calm)}`);
      console.log(`      and meanwhile ${JSON.stringify(during)}; attacker ${JSON.stringify(said)}`);
      assert.ok(rss() > 0, 'the server is gone');
      assert.deepEqual([during.wrong, during.failures], [0, []]);
      assert.ok(during.scored > 0, 'the good client got no answer');
      const longest = Math.max(P99_MS, P99_RATIO * (calm.p99Ms ?? 0));
      assert.ok((during.p99Ms ?? 0) <= longest, `the good client waited ${during.p99Ms} ms, not ${longest}`);
      const repeated = Number(said['longestMessage'] ?? 0);
      assert.ok(repeated <= LONGEST_MESSAGE, `${repeated} characters of the attacker's were repeated`);
      assert.ok(peak <= base + allowed, `${peak} bytes, ${base + allowed} allowed`);
      assert.ok(back <= base + GARBAGE_BYTES, `${back} bytes ${BACK_MS} ms later, ${base} before`);
    });
  }

  /** The server's memory once it is back, or when it should have been. */
  async function memoryBack(): Promise<number> {
    const until = performance.now() + BACK_MS;
    while (rss() > base + GARBAGE_BYTES && performance.now() < until) await sleep(100);
    return rss();
  }
});

/** A good client whose server is gone waits for ever. */
async function reportOf(report: Promise<GoodReport>): Promise<GoodReport> {
  const none = { scored: 0, wrong: 0, retried: 0, failures: ['no answer'], p50Ms: null, p99Ms: null };
  return Promise.race([report, sleep(40_000, none, { ref: false })]).catch(() => none);
}
