/** A server that polls its models folders, through the port: versions come and go without a call or a restart. */
import assert from 'node:assert/strict';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import type { RunningServer } from '../../src/server/server.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { eventually } from '../support/eventually.js';
import { CapturedLog } from '../support/measurements/captured-log.js';
import { collect, connect, end, header, rows, stream } from '../support/protocol/grpc-client.js';
import { registryClient } from '../support/protocol/registry-client.js';
import { SIDE, smallImage, startSmall } from '../support/servers/small-server.js';

const POLL_MS = 20;
const image = smallImage(33);

describe('a watched models folder', function () {
  this.timeout(60_000);
  let root: string;
  let log: CapturedLog;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  let registry: ReturnType<typeof registryClient>;

  const start = async (models: string | readonly string[], flags: Readonly<Record<string, unknown>> = {}) => {
    log = new CapturedLog();
    const settings = { modelsPollMs: POLL_MS, maxBatchSize: 4, admin: true, ...flags };
    server = await startSmall(models, settings, { logger: log.logger });
    client = connect(server.address);
    registry = registryClient(server.address);
  };
  const score = async () => {
    const { aggregate } = await stream(client, [header(), rows(image, SIDE, 0, SIDE), end()]);
    return aggregate.model;
  };
  const settled = (...states: (string | RegExp)[]) =>
    eventually(async () => {
      const actual = await registry.states();
      assert.equal(actual.length, states.length, actual.join());
      for (const [index, expected] of states.entries()) {
        if (typeof expected === 'string') assert.equal(actual[index], expected);
        else assert.match(actual[index]!, expected);
      }
    });
  const count = (message: RegExp) => log.lines.filter(({ msg }) => message.test(msg)).length;
  /** Waits until so many polls that begin from now on have ended. */
  const polls = (number: number) => {
    const ended = () => count(/^polled the models folders$/);
    // The poll that runs now may have begun before.
    const last = ended() + 1 + number;
    return eventually(() => assert.ok(ended() >= last));
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'salad-watch-'));
  });
  afterEach(async () => {
    registry.close();
    client.close();
    await server.stop(0);
    await rm(root, { recursive: true, force: true });
  });

  it('serves what a switched link leads to, as Kubernetes and git-sync switch ..data; latest:1 unloads the version before', async () => {
    const volume = join(root, 'volume');
    const one = await writeSmallBundle(join(volume, '..one'), { version: 1 });
    const two = await writeSmallBundle(join(root, 'next'), { version: 2 });
    await cp(join(volume, '..one'), join(volume, '..two'), { recursive: true });
    await rename(two.directory, join(volume, '..two', 'small', '2'));
    await symlink('..one', join(volume, '..data'));
    await symlink('..data/small', join(volume, 'small'));
    await start(volume, { modelVersions: 'latest:1' });
    assert.equal((await score())?.bundleSha256, one.sha256);
    const call = client.streamAcquisition();
    const outcome = collect(call);
    call.write({ payload: header() });
    call.write({ payload: rows(image, SIDE, 0, SIDE / 2) });
    await new Promise((resolve) => call.once('data', resolve));

    await symlink('..two', join(volume, '..tmp'));
    await rename(join(volume, '..tmp'), join(volume, '..data'));
    await rm(join(volume, '..one'), { recursive: true });
    await settled('small@1 unloading', 'small@2 serving*');
    assert.equal((await score())?.bundleSha256, two.sha256);
    call.write({ payload: rows(image, SIDE, SIDE / 2, SIDE) });
    call.write({ payload: end() });
    call.end();
    assert.equal((await outcome).aggregate.model?.bundleSha256, one.sha256);
    await settled('small@2 serving*');
  });

  it('refuses a bad version once, with its reason, and serves it when it is corrected', async () => {
    const models = join(root, 'models');
    await writeSmallBundle(models, { version: 1 });
    await start(models);
    const bad = await writeSmallBundle(join(root, 'elsewhere'), { version: 2, goldenError: 0.01 });
    await rename(bad.directory, join(models, 'small', '2'));
    await settled('small@1 serving*', /^small@2 refused: .*golden scores differ/);
    await eventually(() => assert.equal(count(/a model bundle was refused/), 1));
    await polls(5);
    assert.equal(count(/a model bundle was refused/), 1);
    assert.equal((await score())?.version, 1);
    const good = await writeSmallBundle(join(root, 'correct'), { version: 2 });
    await rm(join(models, 'small', '2'), { recursive: true });
    await rename(good.directory, join(models, 'small', '2'));
    await settled('small@1 serving', 'small@2 serving*');
    assert.equal((await score())?.bundleSha256, good.sha256);
  });

  it('does not report a version that is still being copied, and serves it once it is complete', async () => {
    const models = join(root, 'models');
    await writeSmallBundle(models, { version: 1 });
    await start(models);
    const { directory, sha256 } = await writeSmallBundle(join(root, 'source'), { version: 2 });
    const target = join(models, 'small', '2');
    await mkdir(target);
    // The manifest first, as an alphabetical copy has it after the card.
    for (const file of (await readdir(directory)).sort().reverse()) {
      await cp(join(directory, file), join(target, file));
      await writeFile(join(target, `.copying-${file}`), '');
      await polls(1);
    }
    await settled('small@1 serving', 'small@2 serving*');
    assert.equal((await score())?.bundleSha256, sha256);
  });

  it('reports the damaged folder of a version that serves, and serves on', async () => {
    const models = join(root, 'models');
    await writeSmallBundle(models, { version: 1 });
    await writeSmallBundle(models, { version: 2 });
    await start(models);
    const bank = join(models, 'small', '2', 'memory-bank.safetensors');
    const whole = await readFile(bank);
    await truncate(bank, 100);
    const damage =
      /small@2 serves what was loaded, but its folder is damaged: memory-bank\.safetensors has 100 bytes/;
    await settled('small@1 serving', new RegExp(`^small@2 serving\\*: ${damage.source}`));
    await log.line(damage);
    await assert.rejects(registry.load('small', 2), damage);
    assert.equal((await score())?.version, 2);
    await writeFile(bank, whole);
    await settled('small@1 serving', 'small@2 serving*');
  });

  it('unloads a version whose folder is gone, but nothing where the volume is empty', async () => {
    const models = join(root, 'models');
    await writeSmallBundle(models, { version: 1 });
    await writeSmallBundle(models, { version: 2 });
    await start(models);
    await rm(join(models, 'small', '2'), { recursive: true });
    await settled('small@1 serving*');
    await rm(models, { recursive: true });
    await mkdir(models);
    await log.line(/models folders were not read/);
    await polls(5);
    assert.deepEqual(await registry.states(), ['small@1 serving*']);
    assert.equal(count(/models folders were not read/), 1);
    assert.equal((await score())?.version, 1);
  });

  it('goes back to the version before where latest:1 serves a version that is removed from the folder', async () => {
    const models = join(root, 'models');
    const one = await writeSmallBundle(models, { version: 1 });
    const two = await writeSmallBundle(models, { version: 2 });
    await start(models, { modelVersions: 'latest:1' });
    assert.equal((await score())?.bundleSha256, two.sha256);
    await rm(join(models, 'small', '2'), { recursive: true });
    await settled('small@1 serving*');
    assert.equal((await score())?.bundleSha256, one.sha256);
  });

  it('leaves alone what a call has unloaded, keeps what a call has loaded, and keeps the content of a version', async () => {
    const models = join(root, 'models');
    for (const version of [1, 2, 3]) await writeSmallBundle(models, { version });
    await start(models, { modelVersions: 'latest:2' });
    assert.deepEqual(await registry.states(), ['small@2 serving', 'small@3 serving*']);
    await registry.unload('small', 3);
    await registry.load('small', 1);
    await polls(5);
    assert.deepEqual(await registry.states(), ['small@1 serving', 'small@2 serving*']);
    const loaded = (await score())?.bundleSha256;
    // At once: a version that is missing in two polls is unloaded.
    const other = await writeSmallBundle(join(root, 'other'), { version: 2, width: 12 });
    await rename(join(models, 'small', '2'), join(root, 'aside'));
    await rename(other.directory, join(models, 'small', '2'));
    await settled(
      'small@1 serving',
      new RegExp(`^small@2 serving\\*: small@2 is loaded with the bundle ${loaded}, .*${other.sha256}`),
    );
    assert.equal((await score())?.bundleSha256, loaded);
    // Its files change: the version that a call has unloaded is wanted again.
    await rm(join(models, 'small', '3'), { recursive: true });
    await writeSmallBundle(models, { version: 3, width: 12 });
    await eventually(async () => assert.equal((await score())?.version, 3));
  });

  it('may be several folders and single bundles; of the same version the first is served', async () => {
    const first = await writeSmallBundle(join(root, 'a'), { version: 1 });
    await writeSmallBundle(join(root, 'b'), { version: 1, width: 12 });
    const other = await writeSmallBundle(join(root, 'b'), { name: 'other', version: 4 });
    const single = await writeSmallBundle(join(root, 'c'), { name: 'single', version: 7 });
    await rename(single.directory, join(root, 'bundle'));
    await start([join(root, 'a'), join(root, 'b'), join(root, 'bundle')], {
      modelVersions: 'latest:1,other@4',
    });
    assert.deepEqual(server.models, ['other@4', 'single@7', 'small@1']);
    assert.equal((await score())?.bundleSha256, first.sha256);
    const served = server.registry.list().map(({ sha256 }) => sha256);
    assert.deepEqual(served, [other.sha256, single.sha256, first.sha256]);
    const next = await writeSmallBundle(join(root, 'b'), { version: 2 });
    await settled('other@4 serving*', 'single@7 serving*', 'small@2 serving*');
    assert.equal((await score())?.bundleSha256, next.sha256);
  });
});
