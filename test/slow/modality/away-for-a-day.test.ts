/** An archive that is away for a day, of a simulated clock: real requests, simulated waits. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Deliverer } from '../../../clients/modality/src/delivery/deliverer.js';
import { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import { StowPort } from '../../../clients/modality/src/stow/stow-port.js';
import { addScored } from '../../support/dicom/scored-instance.js';
import { SimulatedClock } from '../../support/simulated-clock.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** The longest wait of a deliverer, and how often it looks for new results. */
const WAIT_MS_MAX = 5 * MINUTE_MS;
const POLL_MS = 500;

describe('an archive that is away for a day', function () {
  this.timeout(600_000);
  const clock = new SimulatedClock(Date.UTC(2026, 10, 30));
  let root: string;
  let inbox: Inbox;
  let deliverer: Deliverer;
  const archives = new Map<string, { readonly inbox: Inbox; readonly port: StowPort }>();
  let front: Server;
  let isAway = true;
  /** What the archives said of the instances that they were sent. */
  const outcomes: string[] = [];
  /** Simulated times of what the deliverer reported. */
  const failedAt: number[] = [];
  const deliveredAt = new Map<string, number>();

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-away-'));
    await openInbox();
    for (const name of ['away', 'there']) archives.set(name, await openArchive(name));
    front = await listenInFront(archives.get('away')!.port.port);
  });
  afterEach(async () => {
    await deliverer.stop();
    front.close();
    for (const archive of archives.values()) {
      await archive.port.close(100);
      archive.inbox.close();
    }
    inbox.close();
    rmSync(root, { recursive: true });
  });

  async function openInbox(): Promise<void> {
    inbox = await Inbox.open(join(root, 'inbox'), {
      ...{ keepFreeBytes: 0, instanceBytesMax: 2 ** 24, now: () => clock.now },
    });
  }

  async function openArchive(name: string) {
    const own = await Inbox.open(join(root, name), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    const port = await StowPort.listen({
      ...{ inbox: own, host: '127.0.0.1', port: 0, priority: 'routine', token: undefined },
      ...{ connectionsMax: 4, dataMs: 60_000 },
      events: {
        stowed: ({ kept }) => outcomes.push(`${name} ${kept?.outcome}`),
        requestRefused: (status) => outcomes.push(`${name} ${status}`),
      },
    });
    return { inbox: own, port };
  }

  /** Resets connections while the archive is away; else they go to it. */
  async function listenInFront(port: number): Promise<Server> {
    const server = createServer((socket) => {
      if (isAway) {
        socket.resetAndDestroy();
        return;
      }
      const archive = connect(port, '127.0.0.1');
      for (const each of [socket, archive]) each.on('error', () => {});
      socket.pipe(archive).pipe(socket);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return server;
  }

  function startDeliverer(): void {
    const urlOf = (port: number) => `http://127.0.0.1:${port}`;
    deliverer = new Deliverer({
      inbox,
      destinations: [
        { name: 'away', url: urlOf((front.address() as AddressInfo).port), timeoutMs: 60_000 },
        { name: 'there', url: urlOf(archives.get('there')!.port.port), timeoutMs: 60_000 },
      ],
      startTimer: clock.startTimer,
      events: {
        delivered: (id, destination) => deliveredAt.set(`${id} ${destination}`, clock.now),
        deliveryFailed: (_id, destination, { result }) => {
          assert.deepEqual([destination, result], ['away', 'unavailable']);
          failedAt.push(clock.now);
        },
        indexFailed: (error) => assert.fail(error.message),
      },
    });
    deliverer.start();
  }

  /** Lets the clock run until a time; it stands still while requests are under way. */
  async function runUntil(time: number, isDone: () => boolean = () => false): Promise<void> {
    while (clock.now < time && !isDone()) {
      while (clock.pending < archives.size) await turn();
      clock.next();
      await turn();
    }
  }

  it('loses no result, keeps asking with capped waits, delivers all once at its return, and delays no other', async () => {
    const begin = clock.now;
    const scoredAt = new Map<number, number>();
    startDeliverer();
    for (let half = 0; half < 48; half++) {
      scoredAt.set(await addScored(inbox, `1.2.3.${half}`, clock.now, ['away', 'there']), clock.now);
      if (half === 24) {
        // The gateway restarts while the archive is away.
        await deliverer.stop();
        inbox.close();
        await openInbox();
        startDeliverer();
      }
      await runUntil(begin + ((half + 1) * DAY_MS) / 48);
    }
    for (const [id, at] of scoredAt) {
      assert.equal(inbox.index.byId(id)!.state, 'scored');
      assert.ok(deliveredAt.get(`${id} there`)! - at <= POLL_MS, `instance ${id} was delayed`);
    }
    const waits = failedAt.slice(1).map((at, index) => at - failedAt[index]!);
    assert.ok(Math.max(...waits) <= WAIT_MS_MAX, `waited ${Math.max(...waits)} ms`);
    // Each wait is at least half of its step; two starts have the nine steps that grow to the longest.
    assert.ok(failedAt.length >= DAY_MS / WAIT_MS_MAX, `${failedAt.length} attempts`);
    assert.ok(failedAt.length <= DAY_MS / (WAIT_MS_MAX / 2) + 20, `${failedAt.length} attempts`);

    isAway = false;
    const returned = clock.now;
    const isAllDelivered = () => inbox.index.counts().delivered === scoredAt.size;
    await runUntil(returned + WAIT_MS_MAX + POLL_MS, isAllDelivered);
    assert.ok(isAllDelivered(), 'all are delivered at the latest one wait after the return');
    for (const [name, archive] of archives) {
      assert.equal(archive.inbox.index.list().length, scoredAt.size, name);
      assert.equal(archive.inbox.index.conflictCount(), 0, name);
      assert.equal(outcomes.filter((outcome) => outcome === `${name} stored`).length, scoredAt.size);
    }
    assert.equal(outcomes.length, 2 * scoredAt.size);
  });
});
