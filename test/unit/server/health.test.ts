import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Server } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { Health } from '../../../src/server/health.js';

interface Handlers {
  check(call: object, callback: (error: { details: string } | null, answer?: object) => void): void;
  watch(call: object): void;
  list(call: object, callback: (error: null, answer: { statuses: object }) => void): void;
}

function handlersOf(health: Health): Handlers {
  let handlers: unknown;
  health.addTo({ addService: (_service: object, added: object) => (handlers = added) } as unknown as Server);
  return handlers as Handlers;
}

function watchOf(handlers: Handlers, service: string) {
  const answers: unknown[] = [];
  const call = Object.assign(new EventEmitter(), {
    request: { service },
    write: (answer: { status: string }) => answers.push(answer.status),
  });
  handlers.watch(call);
  return { answers, call };
}

describe('Health', () => {
  it('stores no unknown names, however many are watched', () => {
    const health = new Health(['salad.v1.AnomalyScoring']);
    const handlers = handlersOf(health);
    for (let index = 0; index < 1000; index++) {
      const { answers, call } = watchOf(handlers, `unknown-${index}`);
      assert.deepEqual(answers, ['SERVICE_UNKNOWN']);
      call.emit('cancelled');
    }
    const { watchers } = (health as unknown as { implementation: { watchers: Map<string, unknown> } })
      .implementation;
    assert.ok(watchers.size <= 1, `${watchers.size} names are stored`);
  });

  it('sends every change of a known name to its watchers', () => {
    const health = new Health(['salad.v1.AnomalyScoring']);
    const { answers } = watchOf(handlersOf(health), 'salad.v1.AnomalyScoring');
    health.set('SERVING');
    assert.deepEqual(answers, ['NOT_SERVING', 'SERVING']);
  });

  it('answers for models by name, and lists none to callers, who need no credentials', () => {
    const health = new Health([]);
    health.setModels(['small', 'small@1']);
    health.setModels(['small', 'small@2']);
    const handlers = handlersOf(health);
    for (const [name, status] of [
      ['small', 'SERVING'],
      ['small@1', 'NOT_SERVING'],
      ['small@2', 'SERVING'],
    ]) {
      handlers.check({ request: { service: `salad.model.${name}` } }, (_error, answer) => {
        assert.deepEqual(answer, { status });
      });
    }
    handlers.list({}, (_error, { statuses }) => {
      assert.deepEqual(Object.keys(statuses).sort(), ['', 'salad.live']);
    });
  });

  it('repeats only the start of a long unknown name', () => {
    const handlers = handlersOf(new Health([]));
    handlers.check({ request: { service: 'x'.repeat(4000) } }, (error) => {
      assert.ok((error?.details.length ?? 0) < 150, error?.details);
    });
  });
});
