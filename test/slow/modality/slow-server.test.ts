/** A server that takes instances and gives no result in time: for how long the gateway waits, and what it does then. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import { ATTEMPTS_MAX } from '../../../clients/modality/src/inbox/instance.js';
import { Part10Receiver } from '../../../clients/modality/src/inbox/part10-receiver.js';
import { Scorer } from '../../../clients/modality/src/scoring/scorer.js';
import { Targets } from '../../../clients/modality/src/scoring/targets.js';
import {
  type GatewayProcess,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { radiographOf } from '../../support/dicom/radiograph.js';
import { RawDicom } from '../../support/dicom/raw-dicom.js';
import { eventually } from '../../support/eventually.js';
import { type SilentServer, startSilentServer } from '../../support/servers/silent-server.js';
import { smallModels, startSmall } from '../../support/servers/small-server.js';

const STAT_MS = 1500;
const ROUTINE_MS = 480_000;

describe('a server that gives no result in time', function () {
  this.timeout(120_000);
  let folder: string;
  let silent: SilentServer;
  let gateway: GatewayProcess | undefined;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-slow-server-'));
    silent = await startSilentServer();
  });
  afterEach(async () => {
    await gateway?.stop('SIGKILL');
    gateway = undefined;
    silent.stop();
    rmSync(folder, { recursive: true });
  });

  async function send(calling: string, uid: string): Promise<void> {
    const peer = await RawDicom.connect(gateway!.port);
    await peer.associate({ calling });
    assert.equal(await peer.store(uid, await radiographOf(uid, { bare: true })), 0);
    peer.close();
  }

  it('is given up after statTimeoutMs and asked again for STAT, and has until routineTimeoutMs for others', async () => {
    const callers = [{ aeTitle: 'ROUTINE' }, { aeTitle: 'STAT', priority: 'stat' }];
    gateway = await startGatewayProcess(
      writeSettings(folder, {
        dicom: { listen: '127.0.0.1:0', callers },
        server: {
          ...{ targets: [silent.address], model: 'small' },
          ...{ statTimeoutMs: STAT_MS, routineTimeoutMs: ROUTINE_MS },
        },
      }),
    );
    const of = (priority: string) => silent.calls.filter((call) => call.priority === priority);
    await send('ROUTINE', '1.2.3.1');
    await eventually(() => assert.equal(of('routine').length, 1));
    await send('STAT', '1.2.3.2');
    await eventually(() => assert.ok(of('stat').length >= 3, gateway!.log()));
    // What was on its way took some of the time. The larger setting shows that no fixed value is used.
    for (const { remainingMs } of of('stat')) assert.ok(remainingMs > 0 && remainingMs <= STAT_MS);
    const [routine] = of('routine');
    assert.ok(
      routine!.remainingMs > ROUTINE_MS - 60_000 && routine!.remainingMs <= ROUTINE_MS,
      `${routine!.remainingMs} ms`,
    );
    assert.ok(of('stat')[0]!.isOver, 'the first call of STAT is over');
    assert.equal(of('routine').length, 1);
    assert.ok(!routine!.isOver, 'the routine call is still held');
    assert.match(gateway.log(), /"scope":"server","reason":"DEADLINE_EXCEEDED/);
  });

  it('makes no dead letter, however many deadlines it misses, and scores as soon as it can', async () => {
    const models = await smallModels();
    const inbox = await Inbox.open(join(folder, 'inbox'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    const receiver = new Part10Receiver(inbox, 'routine');
    await receiver.write(await radiographOf('1.2.3'));
    const { id } = await receiver.keep();
    const failures: string[] = [];
    // Short, so that many are missed soon; the server that answers gets more.
    const timeoutMs = { stat: 100, routine: 100 };
    const scorer = new Scorer({
      ...{
        inbox,
        model: { name: 'small' },
        destinations: [],
        maxFalsePositiveRate: undefined,
        concurrency: 1,
      },
      ...{ targets: new Targets([{ target: silent.address, options: {} }]), timeoutMs },
      serverBackoff: { initialMs: 5, maxMs: 10 },
      instanceBackoff: { initialMs: 5, maxMs: 10 },
      events: {
        scored() {},
        attemptFailed: (_instance, { scope, reason }) => failures.push(`${scope} ${reason}`),
        indexFailed: ({ message }) => assert.fail(message),
      },
    });
    scorer.start();
    let server: Awaited<ReturnType<typeof startSmall>> | undefined;
    try {
      await eventually(() => assert.ok(failures.length > ATTEMPTS_MAX + 2, failures.join('\n')), 60_000);
      for (const failure of failures) assert.match(failure, /^server DEADLINE_EXCEEDED/);
      assert.ok(silent.calls.length > 0, 'the server got calls');
      assert.equal(inbox.index.counts()['dead-letter'], 0);
      timeoutMs.routine = 60_000;
      silent.stop();
      server = await startSmall(models.path, { listen: silent.address });
      await eventually(() => assert.equal(inbox.index.byId(id)!.state, 'scored', failures.join('\n')));
      assert.equal(inbox.index.byId(id)!.attempts, 1);
    } finally {
      await scorer.stop();
      await server?.stop(0);
      inbox.close();
      await models.remove();
    }
  });
});
