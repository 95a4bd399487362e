import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import { reserveBundleFolder } from '../../../../src/training/fit/output-folder.js';

const root = mkdtempSync(join(tmpdir(), 'salad-output-'));

function refusal(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SaladError && error.reason === 'CONFIGURATION_INVALID', String(error));
    assert.match(error.message, pattern);
    return true;
  };
}

describe('folder of a new bundle', () => {
  after(() => rmSync(root, { recursive: true }));

  it('is reserved by one run at a time; its release removes all created files', async () => {
    const folder = join(root, 'one/mine/1');
    const release = await reserveBundleFolder(folder);
    await assert.rejects(reserveBundleFolder(folder), refusal(/another run writes there \(process \d+ on/));
    const other = await reserveBundleFolder(join(root, 'one/mine/2'));
    other();
    release();
    assert.equal(existsSync(join(root, 'one')), false);
    (await reserveBundleFolder(folder))();
  });

  it('can be reserved after a run that was killed, but not after one on another machine', async () => {
    const folder = join(root, 'killed/1');
    mkdirSync(join(root, 'killed'));
    const { pid } = spawnSync(process.execPath, ['-e', '0']);
    const lock = (host: string, id: number) =>
      writeFileSync(
        `${folder}.lock`,
        JSON.stringify({ pid: id, host, startedAt: '2026-01-01T00:00:00.000Z' }),
      );
    lock('elsewhere', pid);
    await assert.rejects(
      reserveBundleFolder(folder),
      refusal(/on elsewhere, since 2026-01-01.*delete .*1\.lock/),
    );
    lock(hostname(), process.ppid);
    await assert.rejects(reserveBundleFolder(folder), refusal(new RegExp(`process ${process.ppid} on`)));
    lock(hostname(), pid);
    (await reserveBundleFolder(folder))();
    // A restarted container may have the same process id.
    lock(hostname(), process.pid);
    (await reserveBundleFolder(folder))();
    assert.deepEqual(readdirSync(join(root, 'killed')), []);
  });

  it('is refused where something exists', async () => {
    const name = join(root, 'full/mine');
    mkdirSync(join(name, '7'), { recursive: true });
    mkdirSync(join(name, '3'));
    writeFileSync(join(name, '3/manifest.json'), '{}');
    await assert.rejects(
      reserveBundleFolder(join(name, '3')),
      refusal(/3 exists .*--version 8 or another --out/),
    );
    await assert.rejects(reserveBundleFolder(name), refusal(/mine exists .*another --out/));
    (await reserveBundleFolder(join(name, '7')))();
    await assert.rejects(reserveBundleFolder(join(name, '3/manifest.json')), refusal(/exists/));
  });

  it('is refused where it cannot be created', async () => {
    writeFileSync(join(root, 'file'), '');
    await assert.rejects(
      reserveBundleFolder(join(root, 'file/mine/1')),
      refusal(/nothing can be written to/),
    );
    // A recursive mkdir would never return here.
    if (existsSync('/proc/self')) {
      await assert.rejects(reserveBundleFolder('/proc/salad/mine/1'), refusal(/nothing can be written to/));
    }
  });

  it('is refused in a folder without write permission', async function () {
    if (process.getuid?.() === 0 || process.platform === 'win32') this.skip();
    mkdirSync(join(root, 'locked'));
    chmodSync(join(root, 'locked'), 0o500);
    await assert.rejects(reserveBundleFolder(join(root, 'locked/1')), refusal(/nothing can be written to/));
  });

  it('requires --resume exactly where there is a checkpoint', async () => {
    const folder = join(root, 'checkpoint/1');
    await assert.rejects(
      reserveBundleFolder(folder, { resume: true }),
      refusal(/--resume: there is no checkpoint/),
    );
    mkdirSync(`${folder}.checkpoint`, { recursive: true });
    // A folder without the file is not a checkpoint.
    await assert.rejects(reserveBundleFolder(folder, { resume: true }), refusal(/no checkpoint/));
    writeFileSync(`${folder}.checkpoint/checkpoint.safetensors`, 'x');
    await assert.rejects(
      reserveBundleFolder(folder, { resume: false }),
      refusal(/interrupted run: continue it/),
    );
    (await reserveBundleFolder(folder, { resume: true }))();
    assert.ok(existsSync(`${folder}.checkpoint/checkpoint.safetensors`));
  });
});
