// Generates the Go client's messages and calls from proto/ with buf, protoc-gen-go and protoc-gen-go-grpc; --check fails
// where the committed output differs.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { goProgram } from '../go-program.mjs';
import { root } from '../root.mjs';

/** What these versions generate runs with the versions of clients/go/go.mod and with all newer ones. */
const PLUGINS = {
  'protoc-gen-go': 'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.10',
  'protoc-gen-go-grpc': 'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1',
};
const target = join(root, 'clients/go/salad');

const out = mkdtempSync(join(tmpdir(), 'salad-go-stubs-'));
const plugins = Object.entries(PLUGINS).map(([name, source]) => ({
  local: goProgram(name, source, join(root, '.cache/go-stubs')),
  out,
  opt: ['paths=source_relative'],
}));
const template = JSON.stringify({ version: 'v2', plugins });
const buf = join(root, 'node_modules/.bin/buf');
execFileSync(buf, ['generate', '--template', template, '--path', 'proto/salad'], {
  cwd: root,
  stdio: 'inherit',
});
const fresh = join(out, 'salad');
if (process.argv.includes('--check')) {
  try {
    execFileSync('diff', ['-r', fresh, target], { stdio: 'inherit' });
  } catch {
    console.error('clients/go/salad is not what proto/ generates: run `npm run gen:clients`, commit it.');
    process.exitCode = 1;
  }
} else {
  rmSync(target, { recursive: true, force: true });
  cpSync(fresh, target, { recursive: true });
}
rmSync(out, { recursive: true, force: true });
