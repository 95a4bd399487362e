import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { describe, it } from 'mocha';
import pino from 'pino';
import { Failover } from '../../../src/pool/failover.js';
import type { WorkerSet } from '../../../src/pool/worker-set.js';

/** A worker set without threads; the real ones are tested through the port. */
function idleSet(engine: 'onnx' | 'wasm') {
  const ended: string[] = [];
  const set = {
    ...{ engine, device: 'cpu', statuses: new Map(), ended },
    closeWhenIdle: async () => void ended.push('when idle'),
    close: async () => void ended.push('now'),
  };
  return { set: set as unknown as WorkerSet, ended };
}

describe('Failover', () => {
  it('does not wait for an engine that is starting when it closes, and ends its threads once it has started', async () => {
    const serving = idleSet('onnx');
    const late = idleSet('wasm');
    const events = new EventEmitter();
    const failover = new Failover(serving.set, {
      config: { engineBackOffMs: 1000, engineBackOffMaxMs: 1000, engineStandbyDelayMs: 1 },
      logger: pino({ enabled: false }),
      startWorkerSet: async () => {
        events.emit('starting');
        await once(events, 'go');
        return late.set;
      },
    });
    await once(events, 'starting');
    await failover.close();
    assert.deepEqual([serving.ended, late.ended], [['now'], []]);
    events.emit('go');
    await failover.betweenStarts(async () => {});
    assert.deepEqual(late.ended, ['when idle']);
    assert.equal(failover.standby, undefined);
  });
});
