// Base images without a registry: root file systems from Debian's packages (trixie: Node 20.19), imported.
// The one that serves holds Node, its libraries and the authorities' certificates: no shell, no package manager.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache, imageId, read, root, run, say } from './tools.mjs';

const SUITE = 'trixie';
const NPM = 'npm@11.6.2';

/** What a package brings that a server never reads; dpkg's status stays, scanners look for it. Licences stay too. */
const UNREAD = [
  ...['man', 'info', 'locale', 'perl5', 'lintian', 'bash-completion', 'gdb', 'gcc', 'debconf', 'pixmaps'].map(
    (name) => `usr/share/${name}`,
  ),
  ...['usr/sbin', 'usr/bin/openssl', 'usr/bin/c_rehash', 'usr/bin/corepack', 'usr/share/nodejs/corepack'],
  ...['usr/lib/x86_64-linux-gnu/gconv', 'usr/lib/aarch64-linux-gnu/gconv', 'var/cache/apt', 'var/lib/apt'],
];

// In Debian's shell, before the tree is packed; $1 is the tree. update-ca-certificates needs a shell inside, this does not.
const MINIMISE = `
cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1/etc/ssl/certs/ca-certificates.crt"
cd "$1" && rm -rf ${UNREAD.join(' ')} usr/bin/debconf* usr/bin/dpkg-*
find usr/share/doc -type f ! -name copyright -delete && find usr/share/doc -type d -empty -delete
echo 'salad:x:10001:10001::/cache:/nonexistent' > etc/passwd && echo 'salad:x:10001:' > etc/group
mkdir -p proc sys run && mkdir -p -m 1777 tmp`;

const SERVES = (packages) => [
  '--variant=extract',
  `--include=base-files,nodejs,ca-certificates${packages.map((name) => `,${name}`).join('')}`,
  `--extract-hook=${MINIMISE}`,
];

/** name → arguments of mmdebstrap; `npm` where the base needs npm. */
const BASES = {
  'salad-base': { args: () => SERVES([]) },
  // libgl1 and libxext6 are what NVIDIA's Vulkan driver links; the driver itself comes from the host.
  'salad-gpu-base': { args: () => SERVES(['libvulkan1', 'libgl1', 'libegl1', 'libxext6']) },
  'salad-build-base': {
    args: () => [
      '--variant=minbase',
      '--include=nodejs,ca-certificates',
      `--customize-hook=tar-in ${npmTar()} /`,
    ],
  },
};

/** Debian's npm is 400 packages; the npm registry's is one, of the generation that wrote the lockfile. */
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

/** Imports the named bases where they are not there yet, or were made by another recipe. */
export function makeBases(names) {
  for (const name of names) {
    const image = `localhost/${name}`;
    const args = BASES[name].args();
    const recipe = JSON.stringify([SUITE, NPM, args]).replaceAll(root, '');
    const stamp = join(cache, `${name}.recipe`);
    const isCurrent = existsSync(stamp) && readFileSync(stamp, 'utf8') === recipe;
    if (isCurrent && imageId(image) !== undefined) continue;
    say(`making ${image} from Debian ${SUITE}`);
    const tar = join(cache, `${name}.tar`);
    mkdirSync(cache, { recursive: true });
    rmSync(tar, { force: true });
    run('mmdebstrap', ['--quiet', ...args, SUITE, tar]);
    read('podman', ['import', '--quiet', tar, image]);
    rmSync(tar);
    writeFileSync(stamp, recipe);
  }
}
