/**
 * Attacks of a client without credentials on a server within the chart's memory limit, while a good client scores
 * images. Attackers use the Python package h2, the good client uses Python's grpcio: no code of this project.
 *
 * `SALAD_TEST_ATTACKS=a,b` runs these attacks only, `SALAD_TEST_ATTACKED=FOLDER` runs another built checkout.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { loadConfig } from '../../../../src/config/load.js';
import { GARBAGE_BYTES, mostBytes } from '../../../support/measurements/memory-formula.js';
import { rssBytes } from '../../../support/measurements/process-memory.js';
import { startTcpProxy, type TcpProxy } from '../../../support/network/tcp-proxy.js';
import { type ServeProcess, startServeFrom } from '../../../support/programs/salad.js';
import { root } from '../../../support/root.js';
import {
  attack,
  type GoodReport,
  installClients,
  limitMemory,
  type MemoryLimit,
  startGoodClient,
} from './attacks.js';

const MIB = 1024 * 1024;
const LIMIT_BYTES = 4096 * MIB;
const BASELINE_MS = 1000;
/** Time for the server to release memory after its warm-up. */
const WARM_UP_RELEASE_MS = 15_000;
const ATTACK_SECONDS = 4;
/** Time for the server to release the memory of an attack. */
const RELEASE_MS = 30_000;
const P99_MS = 1000;
/** On a slow machine the slowest of some 30 images of the good client may take so many times longer during an attack. */
const P99_RATIO = 10;
/** Characters of `grpc-message`, percent-encoded. */
const LONGEST_MESSAGE = 1024;
const GOOD = '127.0.0.9';

// Functions of the files clients/*_attacks.py, where each is described.
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
  /** Memory of the warmed-up, idle server, in bytes. */
  let base = 0;

  /** 0 where the process has ended. */
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
    await sleep(BASELINE_MS);
    await good.report();
    good.stop();
    await sleep(WARM_UP_RELEASE_MS);
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
    // Each attack has its own address, because one that has lost its connections is refused for a while.
    const source = `127.0.2.${index + 1}`;
    it(name, async () => {
      if (rss() === 0) await start();
      const good = await startGoodClient(proxy?.address ?? '');
      await sleep(BASELINE_MS);
      const before = await good.report();
      let peak = 0;
      const memoryTimer = setInterval(() => {
        peak = Math.max(peak, rss());
        limit.check(server?.process.pid ?? 0, rss());
      }, 20);
      const answers = await attack(name, server?.address ?? '', { source, seconds: ATTACK_SECONDS });
      const [during] = await Promise.all([reportOf(good.report()), sleep(100)]);
      clearInterval(memoryTimer);
      good.stop();
      const released = await releasedBytes();
      const figures = { peak, released, base, allowed: base + allowed };
      const mib = Object.entries(figures).map(([key, bytes]) => `${key} ${(bytes / MIB).toFixed(0)} MiB`);
      console.log(`    ${name}: ${mib.join(', ')}; good before ${JSON.stringify(before)}`);
      console.log(`      and during it ${JSON.stringify(during)}; attacker ${JSON.stringify(answers)}`);
      assert.ok(rss() > 0, 'the server process has ended');
      assert.deepEqual([during.wrong, during.failures], [0, []]);
      assert.ok(during.scored > 0, 'the good client got no answer');
      const longest = Math.max(P99_MS, P99_RATIO * (before.p99Ms ?? 0));
      assert.ok(
        (during.p99Ms ?? 0) <= longest,
        `the good client waited ${during.p99Ms} ms, ${longest} allowed`,
      );
      const repeated = Number(answers['longestMessage'] ?? 0);
      assert.ok(repeated <= LONGEST_MESSAGE, `an answer repeats ${repeated} characters of the attacker`);
      assert.ok(peak <= base + allowed, `${peak} bytes, ${base + allowed} allowed`);
      assert.ok(released <= base + GARBAGE_BYTES, `${released} bytes ${RELEASE_MS} ms later, ${base} before`);
    });
  }

  /** The server's memory after it has released that of the attack, or after RELEASE_MS. */
  async function releasedBytes(): Promise<number> {
    const deadline = performance.now() + RELEASE_MS;
    while (rss() > base + GARBAGE_BYTES && performance.now() < deadline) await sleep(100);
    return rss();
  }
});

/** Limits the wait for a report: a good client without a server waits for ever. */
async function reportOf(report: Promise<GoodReport>): Promise<GoodReport> {
  const none = { scored: 0, wrong: 0, retried: 0, failures: ['no answer'], p50Ms: null, p99Ms: null };
  return Promise.race([report, sleep(40_000, none, { ref: false })]).catch(() => none);
}
