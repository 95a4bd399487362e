/** Commands of `salad-modality` about results for destinations that were removed from the settings; `status --watch`. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Inbox } from '../../clients/modality/src/inbox/inbox.js';
import { modality, modalityCommand, writeSettings } from '../support/dicom/gateway-program.js';
import { eventually } from '../support/eventually.js';

const IDENTITY = { sopClassUid: '1.2.840.10008.5.1.4.1.1.1.1', syntaxUid: '1.2.840.10008.1.2.1' };

describe('salad-modality and destinations that were removed', function () {
  this.timeout(180_000);
  let folder: string;
  let config: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-destinations-'));
    config = writeSettings(folder, {
      server: { targets: ['127.0.0.1:1'], model: 'small' },
      destinations: [{ name: 'pacs', url: 'http://127.0.0.1:1' }],
    });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const run = (verb: string, ...args: readonly string[]) => modality(verb, '--config', config, ...args);
  const stateOf = async (id: number) => (await run('show', String(id), '--json')).lines[0]!['state'];

  /**
   * Fills the inbox: instance 1 was delivered to `pacs` and waits for `old`, 2 waits for `old` alone, 3 was refused by
   * `old` and delivered to `pacs`, 4 was refused by both.
   */
  async function fill(): Promise<void> {
    const inbox = await Inbox.open(join(folder, 'inbox'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 20 });
    const add = async (...destinations: readonly string[]) => {
      const uid = `1.2.${destinations.length}.${Math.round(inbox.index.list().length)}`;
      const incoming = await inbox.begin({ ...IDENTITY, sopInstanceUid: uid, priority: 'routine' });
      await incoming.write(Buffer.from('data set'));
      const { id } = await incoming.keep();
      assert.equal(inbox.index.takeNext()!.id, id);
      inbox.index.scored(
        id,
        JSON.stringify({ scoredMs: 0, frames: [] }),
        destinations.map((destination) => ({ destination, kinds: ['report'] as const })),
      );
      return id;
    };
    const end = (id: number, destination: string, failure?: string) =>
      inbox.index.endObject(
        id,
        { destination, kind: 'report' },
        failure === undefined ? 'delivered' : 'dead-letter',
        failure ?? null,
      );
    end(await add('old', 'pacs'), 'pacs');
    await add('old');
    const third = await add('old', 'pacs');
    end(third, 'pacs');
    end(third, 'old', 'HTTP 409');
    const fourth = await add('old', 'pacs');
    end(fourth, 'pacs', 'HTTP 400');
    end(fourth, 'old', 'HTTP 409');
    inbox.close();
  }

  it('tells which results wait for ever, exports them, and forgets them: no instance waits any more', async () => {
    await fill();
    const before = await run('status', '--json');
    assert.deepEqual(before.lines[0]!['orphaned'], [{ destination: 'old', state: 'waiting', count: 2 }]);
    assert.match(
      (await run('status')).stdout,
      /2 wait for old, which is not in the settings: add it, or drop --destination old/,
    );
    const out = join(folder, 'out');
    assert.equal((await run('export', '--destination', 'old', '--out', out)).code, 0);
    assert.deepEqual(
      readdirSync(out).filter((name) => name.endsWith('.json')),
      ['1.json', '2.json', '3.json', '4.json'],
    );
    const dropped = await run('drop', '--destination', 'old', '--json');
    assert.deepEqual(
      dropped.lines,
      [1, 2, 3, 4].map((instance) => ({ event: 'dropped', instance, destination: 'old' })),
    );
    assert.deepEqual(await Promise.all([1, 2, 3, 4].map(stateOf)), [
      'delivered',
      'scored',
      'delivered',
      'dead-letter',
    ]);
    assert.deepEqual((await run('status', '--json')).lines[0]!['orphaned'], []);
    assert.match((await run('show', '4')).stdout, /reason\s+pacs: HTTP 400\n/);
    // What waits for nothing and what archives refused can be removed.
    assert.equal((await run('drop', '2', '4')).code, 0);
  });

  it('retries nothing for a destination that does not exist, and the rest', async () => {
    await fill();
    const refused = await run('retry', '4');
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /instance 4 would wait for old, which is not in the settings/);
    assert.equal((await run('drop', '--destination', 'old')).code, 0);
    assert.deepEqual((await run('retry', '--destination', 'pacs', '--json')).lines, [
      { event: 'retried', instance: 4, destination: 'pacs' },
    ]);
    assert.equal(await stateOf(4), 'scored');
  });

  it('drops no result for a destination of the settings, and none for one that nothing waits for', async () => {
    await fill();
    const configured = await run('drop', '--destination', 'pacs');
    assert.equal(configured.code, 2);
    assert.match(configured.stderr, /pacs is in the settings: remove it there/);
    const unknown = await run('drop', '--destination', 'odl');
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /no such instances of odl/);
    assert.equal((await run('drop', '2', '--destination', 'old')).code, 2);
    assert.equal((await run('drop', '--dead-letters', '--destination', 'old')).code, 2);
    // An instance that waits for nothing else than a destination that was removed.
    assert.equal((await run('drop', '2')).code, 0);
  });

  it('shows the status again and again until Ctrl-C: lines, JSON lines, and a redrawn terminal', async () => {
    await fill();
    const args = ['status', '--config', config, '--watch', '0.1'];
    const lines = await watch(modalityCommand(...args), (text) => text.split('\n').length > 2);
    assert.equal(lines.code, 130);
    assert.match(
      lines.text.split('\n')[1]!,
      /^2\S+Z received 0, streaming 0, scored 2, delivered 0, dead-letter 2, waiting for old 2, set aside 0, free \d+ MiB$/,
    );
    const json = await watch(modalityCommand(...args, '--json'), (text) => text.split('\n').length > 2);
    assert.equal(json.code, 130);
    const second = JSON.parse(json.text.split('\n')[1]!) as Record<string, unknown>;
    assert.deepEqual(
      [second['event'], (second['counts'] as Record<string, number>)['scored']],
      ['status', 2],
    );
    // `script` gives the program a terminal, and ends when it ends.
    const terminal = [
      'script',
      '--quiet',
      '--return',
      '--command',
      modalityCommand(...args).join(' '),
      '/dev/null',
    ];
    const drawn = await watch(terminal, (text) => text.split('\x1b[H\x1b[J').length > 2, '\x03');
    assert.equal(drawn.code, 130);
    assert.match(drawn.text.split('\x1b[H\x1b[J')[1]!, /scored\s+2\r\n/);
  });

  it('refuses a wrong number of seconds', async () => {
    const wrong = await run('status', '--watch', '0');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /number of seconds/);
  });
});

/**
 * Runs a command until its output is as expected, then interrupts it.
 * @param typed what to type for it; undefined sends SIGINT
 */
async function watch(
  [program, ...args]: readonly string[],
  isEnough: (text: string) => boolean,
  typed?: string,
): Promise<{ readonly code: number | null; readonly text: string }> {
  const child = spawn(program!, args);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const closed = new Promise<number | null>((done) => child.on('close', done));
  await eventually(() => assert.ok(isEnough(text), text));
  if (typed === undefined) child.kill('SIGINT');
  else child.stdin.write(typed);
  return { code: await closed, text };
}
