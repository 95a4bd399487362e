// `npm run engines:swiftshader`: provides a software Vulkan device, so that the webgpu engine can be tested without a
// GPU. SwiftShader comes from the Debian package `chromium-common` and the Vulkan loader from `libvulkan1`; both are only
// downloaded and unpacked, nothing is installed. (Mesa's lavapipe lacks features that Dawn requires.) Prints the
// environment variables that a process needs to find the device.
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { root } from '../prepare.mjs';

const home = join(root, '.cache/swiftshader');
const FILES = ['libvk_swiftshader.so', 'libvulkan.so.1'];

function log(message) {
  console.error(`engines:swiftshader: ${message}`);
}

function findFile(folder, name) {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).find(
    // Ignores the Vulkan loader that Chromium ships next to SwiftShader; the loader of Debian is needed.
    (entry) => entry.name === name && !(name === 'libvulkan.so.1' && entry.parentPath.endsWith('/chromium')),
  );
  if (found === undefined) throw new Error(`the Debian packages contain no ${name}`);
  return join(found.parentPath, found.name);
}

function unpackTo(prefix) {
  rmSync(prefix, { recursive: true, force: true });
  const scratch = join(prefix, 'scratch');
  log('downloading chromium-common and libvulkan1 (32 MB)');
  unpackDebian(['chromium-common', 'libvulkan1'], scratch);
  for (const name of FILES) {
    cpSync(findFile(scratch, name), join(prefix, name), { dereference: true });
  }
  // The loader resolves a path with a slash relative to the folder of this file.
  const ICD = { library_path: './libvk_swiftshader.so', api_version: '1.1.0' };
  writeFileSync(join(prefix, 'icd.json'), `${JSON.stringify({ file_format_version: '1.0.0', ICD })}\n`);
  mkdirSync(join(prefix, 'run'), { mode: 0o700 });
  rmSync(scratch, { recursive: true });
}

if (!existsSync(join(home, 'icd.json'))) {
  const fresh = `${home}.new`;
  unpackTo(fresh);
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
}
log(`ready in ${home}; set these variables to use it:`);
const environment = {
  VK_ICD_FILENAMES: join(home, 'icd.json'),
  VK_LOADER_LAYERS_DISABLE: '*',
  LD_LIBRARY_PATH: home,
  XDG_RUNTIME_DIR: join(home, 'run'),
};
for (const [name, value] of Object.entries(environment)) console.log(`export ${name}='${value}'`);
