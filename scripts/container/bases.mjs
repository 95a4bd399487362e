// Builds base images without a container registry: root file systems of Debian packages (trixie: Node 20.19), imported
// into podman. The image that serves contains Node, its libraries and the certificates of the authorities, but no shell
// and no package manager.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache, imageId, log, read, root, run } from './tools.mjs';

const SUITE = 'trixie';
const NPM = 'npm@11.6.2';

/** Paths that a server never reads. The status of dpkg stays for vulnerability scanners, and licences stay too. */
const UNUSED_PATHS = [
  ...['man', 'info', 'locale', 'perl5', 'lintian', 'bash-completion', 'gdb', 'gcc', 'debconf', 'pixmaps'].map(
    (name) => `usr/share/${name}`,
  ),
  ...['usr/sbin', 'usr/bin/openssl', 'usr/bin/c_rehash', 'usr/bin/corepack', 'usr/share/nodejs/corepack'],
  ...['usr/lib/x86_64-linux-gnu/gconv', 'usr/lib/aarch64-linux-gnu/gconv', 'var/cache/apt', 'var/lib/apt'],
];

// Runs in the shell of the host before the tree is packed; $1 is the tree. update-ca-certificates would need a shell in
// the tree.
const MINIMISE = `
cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1/etc/ssl/certs/ca-certificates.crt"
cd "$1" && rm -rf ${UNUSED_PATHS.join(' ')} usr/bin/debconf* usr/bin/dpkg-*
find usr/share/doc -type f ! -name copyright -delete && find usr/share/doc -type d -empty -delete
echo 'salad:x:10001:10001::/cache:/nonexistent' > etc/passwd && echo 'salad:x:10001:' > etc/group
mkdir -p proc sys run && mkdir -p -m 1777 tmp`;

/** Arguments of mmdebstrap for an image that serves. */
const servingArgs = (packages) => [
  '--variant=extract',
  `--include=base-files,nodejs,ca-certificates${packages.map((name) => `,${name}`).join('')}`,
  `--extract-hook=${MINIMISE}`,
];

/** Arguments of mmdebstrap by image name. */
const BASES = {
  'salad-base': { args: () => servingArgs([]) },
  // The NVIDIA Vulkan driver is linked with libgl1 and libxext6; the driver itself comes from the host.
  'salad-gpu-base': { args: () => servingArgs(['libvulkan1', 'libgl1', 'libegl1', 'libxext6']) },
  'salad-build-base': {
    args: () => [
      '--variant=minbase',
      '--include=nodejs,ca-certificates',
      `--customize-hook=tar-in ${npmTar()} /`,
    ],
  },
};

/** npm from its registry, in the version that wrote the lock file: npm of Debian depends on 400 packages. */
function npmTar() {
  const folder = join(cache, 'npm');
  const tar = join(cache, 'npm.tar');
  if (existsSync(tar)) return tar;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'usr/local'), { recursive: true });
  run('npm', ['install', '--silent', '--global', '--prefix', join(folder, 'usr/local'), NPM], { cwd: cache });
  run('tar', ['-C', folder, '--owner=0', '--group=0', '-cf', tar, '.']);
  return tar;
}

/** Builds and imports the named base images, unless they exist and were built from the same recipe. */
export function makeBases(names) {
  for (const name of names) {
    const image = `localhost/${name}`;
    const args = BASES[name].args();
    const recipe = JSON.stringify([SUITE, NPM, args]).replaceAll(root, '');
    const stamp = join(cache, `${name}.recipe`);
    const isCurrent = existsSync(stamp) && readFileSync(stamp, 'utf8') === recipe;
    if (isCurrent && imageId(image) !== undefined) continue;
    log(`building ${image} from Debian ${SUITE}`);
    const tar = join(cache, `${name}.tar`);
    mkdirSync(cache, { recursive: true });
    rmSync(tar, { force: true });
    run('mmdebstrap', ['--quiet', ...args, SUITE, tar]);
    read('podman', ['import', '--quiet', tar, image]);
    rmSync(tar);
    writeFileSync(stamp, recipe);
  }
}
