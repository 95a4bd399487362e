import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { serverProcesses } from '../../bench/support/child-processes.js';
import { freePort } from '../../bench/support/free-port.js';
import { type SaladClient, SaladClientError } from '../../clients/typescript/src/index.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { eventually } from '../support/eventually.js';
import { secure } from '../support/network/secured.js';
import { salad } from '../support/programs/salad.js';
import { healthClient } from '../support/protocol/health-client.js';
import { holdAcquisition } from '../support/servers/held-acquisition.js';
import { smallHeader, smallImage, smallRows } from '../support/servers/small-server.js';
import { PROCESSES, useTwoProcesses } from '../support/servers/two-processes.js';

const chunks = smallRows(smallImage(1));
/** For a process to start again, models and engine included, on a busy machine. */
const RESTART_MS = 60_000;

describe('salad serve with two processes', function () {
  this.timeout(240_000);
  const two = useTwoProcesses();
  const { start, client, registry } = two;
  const check = async (service: string, address = two.server.address) => {
    const health = healthClient(address);
    try {
      return await health.check(service);
    } finally {
      health.close();
    }
  };
  const score = async (by: SaladClient, id = 'a') => {
    const { coverage } = await by.scoreAcquisition(smallHeader(id), chunks);
    assert.equal(coverage?.scored, 64);
  };
  const killOne = () => process.kill(serverProcesses(two.server.process.pid)[0]!, 'SIGKILL');

  it('counts all acquisitions once in one scrape, also those of a process that has ended', async () => {
    const metricsListen = `127.0.0.1:${await freePort()}`;
    await start({ metricsListen });
    assert.equal(two.server.ready['processes'], PROCESSES);
    assert.equal(serverProcesses(two.server.process.pid).length, PROCESSES);
    const scrape = async () => {
      const text = await (await fetch(`http://${metricsListen}/metrics`)).text();
      const value = (name: string) =>
        Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
      return {
        acquisitions: value('salad_acquisition_duration_count'),
        patches: value('salad_patches_total'),
        slots: value('salad_slots_free'),
        models: Number(/^salad_models\{salad_state="serving"[^}]*\} (\d+)$/m.exec(text)?.[1]),
      };
    };
    const [one, other] = [client(), client()];
    for (let round = 0; round < 5; round++) {
      await score(one, `one${round}`);
      await score(other, `other${round}`);
    }
    // Two slots in each process; the same model in both.
    const expected = { acquisitions: 10, patches: 640, slots: 2 * PROCESSES, models: 1 };
    assert.deepEqual(await scrape(), expected);
    killOne();
    await eventually(async () => assert.deepEqual(await scrape(), { ...expected, slots: 2 }));
    await eventually(async () => assert.deepEqual(await scrape(), expected), RESTART_MS);
    await score(client(), 'after');
    assert.equal((await scrape()).acquisitions, 11);
  });

  it('loads and unloads a version in every process, and in one that is started again', async () => {
    const own = join(two.folder, 'models');
    await writeSmallBundle(own);
    await writeSmallBundle(join(two.folder, 'later'), { version: 2 });
    await start({ admin: true }, own);
    cpSync(join(two.folder, 'later/small/2'), join(own, 'small/2'), { recursive: true });
    const [one, other] = [registry(), registry()];
    const states = () => Promise.all([one.states(), other.states()]);
    const both = ['small@1 serving', 'small@2 serving*'];
    assert.deepEqual(await states(), [['small@1 serving*'], ['small@1 serving*']]);
    const loaded = await one.load('small', 2);
    assert.equal(loaded.model?.identity?.version, 2);
    // Answered once every process has it.
    assert.deepEqual(await states(), [both, both]);
    assert.equal(await check('salad.model.small@2'), 'SERVING');
    const unloaded = await other.unload('small', 1);
    assert.deepEqual(
      unloaded.models.map(({ version }) => version),
      [1],
    );
    await eventually(async () =>
      assert.deepEqual(await states(), [['small@2 serving*'], ['small@2 serving*']]),
    );
    await assert.rejects(one.load('small', 7), /NOT_FOUND.*small@7/s);
    await assert.rejects(one.unload('small'), /FAILED_PRECONDITION.*no model would be left/s);
    const [before] = serverProcesses(two.server.process.pid);
    killOne();
    await eventually(() => {
      const now = serverProcesses(two.server.process.pid);
      assert.ok(now.length === PROCESSES && !now.includes(before!));
    });
    // Both processes have connections of their own again once the new one takes them.
    await eventually(async () => {
      const answers = await Promise.all([registry().states(), registry().states(), registry().states()]);
      assert.deepEqual(answers, new Array(3).fill(['small@2 serving*']));
      assert.equal(await check('salad.model.small@1'), 'NOT_SERVING');
    }, RESTART_MS);
  });

  it('finishes what runs in every process, refuses what is new, then refuses connections, and exits with 0', async () => {
    const healthListen = `127.0.0.1:${await freePort()}`;
    await start({ healthListen });
    const running = await holdAcquisition(client());
    await score(client());
    assert.deepEqual([await check(''), await check('', healthListen)], ['SERVING', 'SERVING']);
    const exited = once(two.server.process, 'exit');
    two.server.process.kill('SIGTERM');
    await eventually(async () =>
      assert.deepEqual(
        [await check(''), await check('', healthListen), await check('salad.live', healthListen)],
        ['NOT_SERVING', 'NOT_SERVING', 'SERVING'],
      ),
    );
    // Two, so that both processes are asked: one of them has no call that runs.
    for (const late of [client(), client()]) {
      await assert.rejects(score(late), (error: unknown) => {
        assert.ok(error instanceof SaladClientError);
        assert.deepEqual([error.status, error.reason], ['UNAVAILABLE', 'DRAINING']);
        return true;
      });
    }
    running.release();
    assert.equal((await running.outcome).coverage?.scored, 64);
    assert.deepEqual(await exited, [0, null]);
    const [host, port] = two.server.address.split(':');
    const refused = connect(Number(port), host);
    const [error] = await once(refused, 'error');
    assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED');
  });

  it('ends all processes at a second signal, with 130', async () => {
    await start();
    await holdAcquisition(client());
    const pids = serverProcesses(two.server.process.pid);
    const exited = once(two.server.process, 'exit');
    two.server.process.kill('SIGTERM');
    await eventually(async () => assert.equal(await check(''), 'NOT_SERVING'));
    two.server.process.kill('SIGINT');
    assert.deepEqual(await exited, [130, null]);
    await eventually(() => {
      for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    });
  });

  it('ends its processes where it is killed itself', async () => {
    await start();
    const pids = serverProcesses(two.server.process.pid);
    assert.equal(pids.length, PROCESSES);
    await two.server.stop('SIGKILL');
    await eventually(() => {
      for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    });
  });

  it('leaves signals to the first process: a terminal sends them to all', async () => {
    await start();
    const running = await holdAcquisition(client());
    const exited = once(two.server.process, 'exit');
    for (const pid of [...serverProcesses(two.server.process.pid), two.server.process.pid!])
      process.kill(pid, 'SIGINT');
    running.release();
    assert.equal((await running.outcome).coverage?.scored, 64);
    assert.deepEqual(await exited, [0, null]);
  });

  it('serves over TLS, with client certificates', async () => {
    const { flags, credentials } = await secure(join(two.folder, 'tls'), {
      tls: true,
      apiKeys: false,
      tokens: false,
    });
    await start(flags);
    const { ca = '', certificate = '', privateKey = '' } = credentials;
    const tls = { ca, certificate, privateKey };
    for (let index = 0; index < 2 * PROCESSES; index++) await score(client({ tls }), `tls${index}`);
    await assert.rejects(score(client()), { status: 'UNAVAILABLE' });
  });

  it('pings a silent client, and keeps its connection while it answers', async () => {
    await start({ keepaliveMs: 100, keepaliveTimeoutMs: 2000 });
    for (let index = 0; index < PROCESSES; index++) {
      const session = connectHttp2(`http://${two.server.address}`);
      two.closeAfterTest(() => session.destroy());
      await once(session, 'connect');
      for (let ping = 0; ping < 5; ping++) await once(session, 'ping');
      assert.equal(session.destroyed, false);
      const stream = session.request({
        ':method': 'POST',
        ':path': '/grpc.health.v1.Health/Check',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.end(Buffer.alloc(5));
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], 200);
      stream.destroy();
    }
  });

  it('does not start where its processes cannot, with their error', async () => {
    await start();
    const arguments_ = ['--models', join(two.folder, 'nowhere'), '--listen', '127.0.0.1:0'];
    const alone = await salad('serve', ...arguments_);
    const several = await salad('serve', ...arguments_, '--processes', '2');
    const message = ({ stderr }: typeof alone) =>
      stderr.split('\n').filter((line) => line.startsWith('salad: '));
    assert.deepEqual([several.code, message(several)], [alone.code, message(alone)]);
    assert.equal(message(alone).length, 1);
  });
});
