import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { readBundle } from '../../../../../src/bundle/bundle.js';
import { fetchBundle } from '../../../../../src/cli/commands/models/fetch.js';
import { shippedModels } from '../../../../../src/util/package-root.js';

const bundle = join(shippedModels(), 'phantom/1');
const sha256 = createHash('sha256')
  .update(readFileSync(join(bundle, 'manifest.json')))
  .digest('hex');

describe('models fetch', () => {
  let server: Server;
  let url: string;
  let models: string;
  /** Content that the server sends instead of a file's own, by file name. */
  let forgedContent: Record<string, Uint8Array>;
  let requests: string[];

  before(async () => {
    server = createServer((request, response) => {
      const file = String(request.url).replace('/bundle/', '');
      requests.push(file);
      try {
        response.end(forgedContent[file] ?? readFileSync(join(bundle, file)));
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/bundle`;
  });
  after(() => server.close());
  beforeEach(() => {
    models = mkdtempSync(join(tmpdir(), 'salad-fetch-'));
    forgedContent = {};
    requests = [];
  });
  afterEach(() => rmSync(models, { recursive: true }));

  it('downloads a valid bundle, and requests only the manifest the second time', async () => {
    const first = await fetchBundle({ url, sha256, models });
    assert.deepEqual([first.model, first.isNew], ['phantom@1', true]);
    assert.equal((await readBundle(first.directory)).sha256, sha256);
    requests = [];
    assert.equal((await fetchBundle({ url: `${url}/`, sha256, models })).isNew, false);
    assert.deepEqual(requests, ['manifest.json']);
  });

  it('refuses a manifest with another hash', async () => {
    await assert.rejects(fetchBundle({ url, sha256: '0'.repeat(64), models }), { reason: 'BUNDLE_INVALID' });
    assert.deepEqual(readdirSync(models), []);
  });

  it('refuses a file that does not match the manifest, and leaves no files', async () => {
    const original = readFileSync(join(bundle, 'weights.safetensors'));
    const changed = Uint8Array.from(original, (byte, index) => (index === 9000 ? byte ^ 1 : byte));
    const longer = Buffer.concat([original, Buffer.from([0])]);
    for (const content of [changed, longer, original.subarray(1)]) {
      forgedContent = { 'weights.safetensors': content };
      await assert.rejects(fetchBundle({ url, sha256, models }), { reason: 'BUNDLE_INVALID' });
      assert.deepEqual(readdirSync(join(models, 'phantom')), []);
    }
  });

  it('replaces a bundle of the same version, in a folder that all users can read', async () => {
    const directory = join(models, 'phantom', '1');
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'manifest.json'), '{}');
    assert.equal((await fetchBundle({ url, sha256, models })).isNew, true);
    assert.equal((await readBundle(directory)).sha256, sha256);
    assert.equal(statSync(directory).mode & 0o777, 0o755);
    assert.deepEqual(readdirSync(join(models, 'phantom')), ['1']);
  });

  it('refuses a manifest with a file outside the bundle folder', async () => {
    const manifest = JSON.parse(readFileSync(join(bundle, 'manifest.json'), 'utf8')) as {
      files: Record<string, unknown>;
    };
    manifest.files['../../planted'] = manifest.files['MODEL_CARD.md'];
    const bytes = new TextEncoder().encode(JSON.stringify(manifest));
    forgedContent = { 'manifest.json': bytes };
    const hash = createHash('sha256').update(bytes).digest('hex');
    await assert.rejects(fetchBundle({ url, sha256: hash, models }), {
      reason: 'BUNDLE_INVALID',
      message: /planted is not the name of a file beside the manifest/,
    });
    assert.deepEqual([requests, readdirSync(models)], [['manifest.json'], []]);
  });

  it('names the address that has no file', async () => {
    await assert.rejects(
      fetchBundle({ url: `${url}/none`, sha256, models }),
      /none\/manifest\.json: HTTP 404/,
    );
  });
});
