/**
 * What an attacker without credentials does to a server in the chart's memory limit, while a good client scores images
 * beside it. The attackers are Python over the package h2, the good client is Python's grpcio.
 *
 * `SALAD_TEST_ATTACKED=FOLDER` attacks another built checkout, `ATTACKS=a,b` only these attacks.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import {
  attack,
  type GoodResult,
  installClients,
  limitMemory,
  type MemoryLimit,
  startGoodClient,
} from '../../support/attacks.js';
import { rssBytes } from '../../support/process-memory.js';
import { root, type ServeProcess, startServeFrom } from '../../support/salad.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';

const MIB = 1024 * 1024;
const LIMIT_BYTES = 4096 * MIB;
const SECONDS = Number(process.env['SALAD_TEST_SECONDS'] ?? 5);
const attacked = process.env['SALAD_TEST_ATTACKED'] ?? root;
const only = process.env['SALAD_TEST_ATTACKS']?.split(',');

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
  'long_names',
];

describe('attacks on a server in a limit of 4 GiB', function () {
  this.timeout(240_000);
  let limit: MemoryLimit;
  let server: ServeProcess | undefined;
  let proxy: TcpProxy | undefined;
  let base = 0;

  const isAlive = () =>
    server !== undefined && server.process.exitCode === null && server.process.signalCode === null;
  const rss = () => {
    try {
      return rssBytes(server?.process.pid as number);
    } catch {
      return 0;
    }
  };
  const start = async () => {
    await proxy?.close();
    await server?.stop('SIGKILL');
    server = await startServeFrom(attacked, { under: limit.under }, '--engine', 'onnx');
    const port = Number(server.address.split(':').at(-1));
    // The good client's own address.
    proxy = await startTcpProxy({ host: '127.0.0.1', port, localAddress: '127.0.0.9' });
    const good = await startGoodClient(proxy.address);
    await sleep(1000);
    await good.stop();
    base = rss();
  };

  before(async function () {
    this.timeout(300_000);
    installClients();
    limit = limitMemory(LIMIT_BYTES);
    console.log(`    memory limited by ${limit.by}`);
    await start();
  });
  after(async () => {
    await server?.stop('SIGKILL');
    await proxy?.close();
    await sleep(100);
    limit.remove();
  });

  for (const name of ATTACKS) {
    if (only !== undefined && !only.includes(name)) continue;
    it(name, async () => {
      if (!isAlive() || process.env['SALAD_TEST_FRESH']) await start();
      const pid = server?.process.pid as number;
      const good = await startGoodClient(proxy!.address);
      let peak = 0;
      const watch = setInterval(() => {
        peak = Math.max(peak, rss());
        limit.check(pid, rss());
      }, 20);
      const said = await attack(name, server!.address, { source: '127.0.0.2', seconds: SECONDS });
      const result: Partial<GoodResult> = await Promise.race([
        good.stop(),
        sleep(15_000).then(() => ({})),
      ]).catch(() => ({}));
      clearInterval(watch);
      let back = Number.NaN;
      const endAt = performance.now() + 30_000;
      do {
        back = rss();
        await sleep(100);
      } while (isAlive() && back > base + 96 * MIB && performance.now() < endAt);
      const alive = isAlive();
      console.log(
        `    ${name}: ${alive ? 'lives' : `DEAD ${server?.process.signalCode ?? server?.process.exitCode}`}; peak ${(peak / MIB).toFixed(0)} MiB, later ${(back / MIB).toFixed(0)}, base ${(base / MIB).toFixed(0)}; good ${JSON.stringify(result).slice(0, 300)}; attacker ${JSON.stringify(said).slice(0, 300)}`,
      );
      assert.ok(alive, 'dead');
      assert.equal(result.wrong, 0);
      assert.ok((result.p99Ms ?? Infinity) < 1000, 'slow');
      assert.deepEqual(result.failures, []);
    });
  }
});
