// Builds kube-apiserver from the Go module proxy into .cache/helm, once.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMPILE_FAST } from '../go-program.mjs';
import { cache, module, moduleVersion } from './tools.mjs';

/**
 * Builds kube-apiserver in a temporary module that requires it: `go install` refuses a module with replace directives.
 * @returns the path of the program
 */
export function apiServer() {
  const version = moduleVersion('kubernetes');
  const path = join(cache, 'bin/kube-apiserver');
  const stamp = `${path}.version`;
  if (existsSync(path) && existsSync(stamp) && readFileSync(stamp, 'utf8') === version) return path;
  console.error(`helm:api: building kube-apiserver ${version}`);
  const folder = join(cache, 'kube-apiserver');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const source = module('kubernetes');
  const text = readFileSync(join(source, 'go.mod'), 'utf8');
  const staged = [...text.matchAll(/^\s+(k8s\.io\/\S+) => \.\/staging/gm)].map(
    ([, name]) => `replace ${name} => ${name} ${version.replace('v1', 'v0')}`,
  );
  const go = /^go (\S+)$/m.exec(text)?.[1];
  const lines = ['module salad.local/cluster', `go ${go}`, `require k8s.io/kubernetes ${version}`, ...staged];
  writeFileSync(join(folder, 'go.mod'), `${lines.join('\n')}\n`);
  const [major, minor] = version.slice(1).split('.');
  const versionFields = { gitVersion: version, gitMajor: major, gitMinor: minor };
  const flags = Object.entries(versionFields).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  );
  execFileSync(
    'go',
    [
      'build',
      '-p',
      '2',
      COMPILE_FAST,
      '-o',
      path,
      '-ldflags',
      `-s -w ${flags.join(' ')}`,
      'k8s.io/kubernetes/cmd/kube-apiserver',
    ],
    { cwd: folder, stdio: ['ignore', 2, 2], env: { ...process.env, GOFLAGS: '-mod=mod -buildvcs=false' } },
  );
  writeFileSync(stamp, version);
  return path;
}
