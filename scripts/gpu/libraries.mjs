// Shared libraries of Debian packages for the GPU run, for machines that lack them: the Vulkan loader, and what NVIDIA's
// driver is linked with; and the programs that unpack the archive.
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { root } from '../root.mjs';

const cache = join(root, '.cache/gpu/debian');
const PACKAGES = [
  // busybox has tar, but its xz cannot undo the filter for machine code.
  ...['busybox-static', 'xz-utils', 'liblzma5'],
  'libvulkan1',
  // NVIDIA's Vulkan part (libGLX_nvidia.so.0, libEGL_nvidia.so.0) needs these.
  ...['libgl1', 'libglx0', 'libegl1', 'libglvnd0', 'libx11-6', 'libxext6'],
  // These need each other: libX11 needs libxcb, which needs libXau and libXdmcp, which needs libbsd and libmd.
  ...['libxcb1', 'libxau6', 'libxdmcp6', 'libbsd0', 'libmd0'],
  // Node and Dawn need these two.
  ...['libstdc++6', 'libgcc-s1'],
];
/** Needed to start Node at all, so that Node cannot find out whether they are missing. */
const OF_NODE = /^lib(stdc\+\+|gcc_s)\.so\./;

/** Programs of the archive that are not packed. */
export const UNPACKERS = ['busybox', 'xz', 'liblzma.so.5'];

/** Copies the unpackers into `archive`, and the libraries into `lib/` and `lib-node/` of `folder`. */
export function copyLibraries(archive, folder) {
  if (!existsSync(cache)) {
    const fresh = `${cache}.new`;
    rmSync(fresh, { recursive: true, force: true });
    unpackDebian(PACKAGES, fresh);
    renameSync(fresh, cache);
  }
  const files = readdirSync(cache, { recursive: true, withFileTypes: true });
  const pathOf = ({ parentPath, name }) => join(parentPath, name);
  for (const unpacker of UNPACKERS) {
    const file = files.find(({ name, parentPath }) => name === unpacker && /(bin|-gnu)$/.test(parentPath));
    cpSync(pathOf(file), join(archive, unpacker), { dereference: true });
  }
  // Of libX11.so.6 and libX11.so.6.4.0 the first, which is the name that programs ask for; it is a link.
  const isLibrary = ({ name }) => /^lib[^/]*\.so\.\d+$/.test(name) && !UNPACKERS.includes(name);
  for (const file of files.filter(isLibrary)) {
    const target = join(folder, OF_NODE.test(file.name) ? 'lib-node' : 'lib');
    mkdirSync(target, { recursive: true });
    cpSync(pathOf(file), join(target, file.name), { dereference: true });
  }
}
