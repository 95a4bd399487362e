/** Creates virtual environments for the peers from PyPI, once, under .cache/peers. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { note } from '../../src/cli/shared/output.js';
import { packageRoot } from '../../src/util/package-root.js';

export type PeerName = 'naive-python' | 'mlserver' | 'triton' | 'pydicom' | 'pytorch';

export interface Peer {
  /** Python interpreter of the virtual environment. */
  readonly python: string;
  /** Folder of the peer's source files. */
  readonly sources: string;
  /** Folder for generated files. */
  readonly work: string;
}

/** Installs the packages of requirements.txt, unless the same requirements are installed already. */
export function installPeer(name: PeerName): Peer {
  const sources = join(packageRoot(), 'bench/peers', name);
  const cache = join(packageRoot(), '.cache/peers');
  const environment = join(cache, name);
  const python = join(environment, 'bin/python');
  const requirements = join(sources, 'requirements.txt');
  const stamp = join(environment, '.installed');
  const required = readFileSync(requirements, 'utf8');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== required) {
    note(`bench: installing ${name} from PyPI (once) ...`);
    mkdirSync(cache, { recursive: true });
    const run = (command: string, args: readonly string[]) =>
      execFileSync(command, args, { stdio: ['ignore', 2, 2] });
    run('python3', ['-m', 'venv', environment]);
    run(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements]);
    writeFileSync(stamp, required);
  }
  const work = join(cache, `${name}-work`);
  mkdirSync(work, { recursive: true });
  return { python, sources, work };
}

/** Generates Python stubs of the salad.v1 protocol. @returns the folder for PYTHONPATH */
export function generateStubs({ python, work }: Peer): string {
  const proto = join(packageRoot(), 'proto');
  const out = join(work, 'stubs');
  mkdirSync(out, { recursive: true });
  const files = ['types', 'anomaly_scoring'].map((name) => join(proto, 'salad/v1', `${name}.proto`));
  execFileSync(python, [
    '-m',
    'grpc_tools.protoc',
    `-I${proto}`,
    `--python_out=${out}`,
    `--grpc_python_out=${out}`,
    ...files,
  ]);
  return out;
}
