// Tools and settings of the container scripts: installs buildah, podman and runc from Debian if they are missing, and
// configures them to work without systemd and without a container network.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const cache = join(root, '.cache/container');
const PACKAGES = {
  mmdebstrap: 'mmdebstrap',
  buildah: 'buildah',
  podman: 'podman',
  runc: 'runc',
  catatonit: 'catatonit',
};

export function log(message) {
  console.error(`container: ${message}`);
}

/** Prints the reason and ends the script with exit code 1. */
export function fail(reason) {
  log(reason);
  process.exit(1);
}

/** Containers share the network of the host, so that neither a bridge nor firewall rules are needed. */
const SETTINGS = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

/** The environment variables for podman and buildah. */
export function containerEnvironment() {
  const file = join(cache, 'containers.conf');
  mkdirSync(cache, { recursive: true });
  writeFileSync(file, SETTINGS);
  return { ...process.env, CONTAINERS_CONF: file };
}

/** Runs a command and returns its stdout as text; stderr is shown. */
export function read(command, args, options = {}) {
  return execFileSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: containerEnvironment(),
    ...options,
  }).trim();
}

/** Runs a command with its output on stderr, because stdout is for the results of the script. */
export function run(command, args, options = {}) {
  execFileSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: containerEnvironment(),
    ...options,
  });
}

const hasCommand = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

/** Installs missing tools; ends the script with the reason if this machine cannot run containers. */
export function ensureTools() {
  if (process.platform !== 'linux') fail('images can be built on Linux only');
  if (process.getuid() !== 0)
    fail('run as root: mmdebstrap, chroot builds and runc are used without user namespaces');
  if (spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status !== 0)
    fail('this machine does not allow new namespaces, so that containers cannot run here');
  const missing = Object.keys(PACKAGES).filter((command) => !hasCommand(command));
  if (missing.length === 0) return;
  if (!hasCommand('apt-get')) fail(`install ${missing.join(', ')}: this machine has no apt-get to do it`);
  const packages = missing.map((command) => PACKAGES[command]);
  log(`installing ${packages.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], { env });
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
}

/** The identifier of an image; undefined if it does not exist. */
export function imageId(name) {
  const { status, stdout } = spawnSync('podman', ['image', 'inspect', '--format', '{{.Id}}', name], {
    encoding: 'utf8',
    env: containerEnvironment(),
  });
  return status === 0 ? stdout.trim() : undefined;
}
