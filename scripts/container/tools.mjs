// What the container scripts share: Debian's buildah, podman and runc, installed where they are missing, and
// settings that work without systemd and without a network of their own.
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

export function say(message) {
  console.error(`container: ${message}`);
}

/** Ends the script with one sentence that says what this machine lacks. */
export function giveUp(why) {
  say(why);
  process.exit(1);
}

/** Containers share the machine's network: there is neither a bridge nor a firewall to set up. */
const SETTINGS = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

/** The environment in which podman and buildah run here. */
export function containerEnvironment() {
  const file = join(cache, 'containers.conf');
  mkdirSync(cache, { recursive: true });
  writeFileSync(file, SETTINGS);
  return { ...process.env, CONTAINERS_CONF: file };
}

/** Output as text; what the command says on stderr is shown. */
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

/** Output of tools goes to stderr: stdout belongs to the script. */
export function run(command, args, options = {}) {
  execFileSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: containerEnvironment(),
    ...options,
  });
}

const isThere = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

/** Installs what is missing; ends with a reason where this machine cannot run containers at all. */
export function needTools() {
  if (process.platform !== 'linux') giveUp('images are built on Linux only');
  if (process.getuid() !== 0)
    giveUp('needs root: mmdebstrap, chroot builds and runc are used without user namespaces');
  if (spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status !== 0)
    giveUp('this machine lets nobody make namespaces: containers cannot run here');
  const missing = Object.keys(PACKAGES).filter((command) => !isThere(command));
  if (missing.length === 0) return;
  if (!isThere('apt-get')) giveUp(`${missing.join(', ')} missing, and no apt-get to install them with`);
  const packages = missing.map((command) => PACKAGES[command]);
  say(`installing ${packages.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], { env });
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
}

/** An image's identifier, or undefined. */
export function imageId(name) {
  const { status, stdout } = spawnSync('podman', ['image', 'inspect', '--format', '{{.Id}}', name], {
    encoding: 'utf8',
    env: containerEnvironment(),
  });
  return status === 0 ? stdout.trim() : undefined;
}
