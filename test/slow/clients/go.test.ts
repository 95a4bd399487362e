/** The Go client: stubs, vet, and its tests with the race detector against real servers. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, it } from 'mocha';
import { root } from '../../support/root.js';

const execute = promisify(execFile);
const folder = join(root, 'clients/go');

describe('the Go client', function () {
  // The modules are fetched and compiled the first time.
  this.timeout(600_000);

  const run = async (command: string, ...args: readonly string[]): Promise<string> => {
    try {
      const { stdout, stderr } = await execute(command, args, { cwd: folder, maxBuffer: 1e8 });
      return stdout + stderr;
    } catch (error) {
      const { message, stdout, stderr } = error as Error & { stdout: string; stderr: string };
      throw new Error(`${message}\n${stdout}\n${stderr}`);
    }
  };

  it('has the stubs that proto/ generates', async () => {
    await run(process.execPath, join(root, 'scripts/clients/go-stubs.mjs'), '--check');
  });

  it('is formatted, vetted and tidy, and forces no newer Go than 1.24 on its users', async () => {
    assert.equal(await run('gofmt', '-l', '.'), '');
    await run('go', 'vet', './...');
    await run('go', 'mod', 'tidy', '-diff');
    await run('go', 'mod', 'verify');
    assert.match(readFileSync(join(folder, 'go.mod'), 'utf8'), /^go 1\.24\.0$/m);
  });

  it('brings grpc, protobuf and what these need', async () => {
    const listed = await run('go', 'list', '-deps', '-f', '{{with .Module}}{{.Path}}{{end}}', '.');
    assert.deepEqual([...new Set(listed.split('\n').filter((path) => path !== ''))].sort(), [
      'github.com/salad-serve/salad-serve/clients/go',
      'golang.org/x/net',
      'golang.org/x/sys',
      'golang.org/x/text',
      'google.golang.org/genproto/googleapis/rpc',
      'google.golang.org/grpc',
      'google.golang.org/protobuf',
    ]);
  });

  it('passes its tests with the race detector', async () => {
    const { testArguments } = await import(join(root, 'scripts/clients/go-client.mjs'));
    const printed = await run('go', ...(testArguments as string[]), '-count=1', '-v', './...');
    const count = printed.match(/^--- PASS/gm)?.length ?? 0;
    console.log(`      ${count} tests passed`);
    assert.ok(count >= 35, printed);
    assert.doesNotMatch(printed, /^\s*--- SKIP/m);
  });
});
