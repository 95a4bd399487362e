// `npm run engines:swiftshader`: a Vulkan device made of software, so that the webgpu engine can be tested
// where there is no GPU. SwiftShader comes out of Debian's `chromium-common` and the Vulkan loader out of
// `libvulkan1`; both are only downloaded and unpacked, nothing is installed. (Mesa's lavapipe lacks features
// Dawn insists on.) Prints the environment a process needs to see the device.
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { root } from '../prepare.mjs';

const home = join(root, '.cache/swiftshader');
const FILES = ['libvk_swiftshader.so', 'libvulkan.so.1'];

function say(message) {
  console.error(`engines:swiftshader: ${message}`);
}

function findFile(folder, name) {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).find(
    // Chromium ships a Vulkan loader of its own next to SwiftShader; Debian's is the one wanted.
    (entry) => entry.name === name && !(name === 'libvulkan.so.1' && entry.parentPath.endsWith('/chromium')),
  );
  if (found === undefined) throw new Error(`the Debian packages hold no ${name}`);
  return join(found.parentPath, found.name);
}

function unpackTo(prefix) {
  rmSync(prefix, { recursive: true, force: true });
  const scratch = join(prefix, 'scratch');
  say('downloading chromium-common and libvulkan1 (32 MB)');
  unpackDebian(['chromium-common', 'libvulkan1'], scratch);
  for (const name of FILES) {
    cpSync(findFile(scratch, name), join(prefix, name), { dereference: true });
  }
  // The loader resolves a path with a slash against this file's folder.
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
say(`ready in ${home}; run a program with this environment:`);
const environment = {
  VK_ICD_FILENAMES: join(home, 'icd.json'),
  VK_LOADER_LAYERS_DISABLE: '*',
  LD_LIBRARY_PATH: home,
  XDG_RUNTIME_DIR: join(home, 'run'),
};
for (const [name, value] of Object.entries(environment)) console.log(`export ${name}='${value}'`);
