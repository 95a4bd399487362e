// `node notices.mjs NODE_MODULES`: prints the licences of all packages that an image holds, as their licences ask of
// whoever hands them on: name, version, licence and its text; for libvips (LGPL) also how to get and replace it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: notices.mjs NODE_MODULES');
  process.exit(2);
}
const licenses = join(dirname(fileURLToPath(import.meta.url)), 'licenses');
const LICENSE_FILE = /^(licen[cs]e|copying|notice|copyright|third.?party)/i;

/** Folders of the packages below a node_modules folder, nested ones too. */
function packagesIn(modules) {
  return readdirSync(modules, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .flatMap(({ name }) => {
      const path = join(modules, name);
      if (name.startsWith('@')) return packagesIn(path);
      const nested = join(path, 'node_modules');
      return [path, ...(existsSync(nested) ? packagesIn(nested) : [])];
    })
    .filter((path) => existsSync(join(path, 'package.json')));
}

function textsOf(path) {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isFile() && LICENSE_FILE.test(entry.name))
    .map(({ name }) => readFileSync(join(path, name), 'utf8').trim());
}

/** libvips and what it is linked with are one shared library under the LGPL. */
function libvipsNotice(path, { name, version }) {
  return `${readFileSync(join(path, 'README.md'), 'utf8').trim()}

The sources of version ${version}, and how the library is built, are at https://github.com/lovell/sharp-libvips; versions.json
in the folder of the package names the version of each part. The library is linked dynamically: a build of your own may take
the place of lib/libvips-cpp.so.* in node_modules/${name}. The licences LGPL-3 and GPL-3 stand at the end.`;
}

const found = new Map();
for (const path of packagesIn(folder)) {
  const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  // Some packages hold folders with a package.json that only says how their files are read.
  if (manifest.name && manifest.version)
    found.set(`${manifest.name} ${manifest.version}`, { path, manifest });
}

/** Packages with the same text share one place. */
const byText = new Map();
for (const [title, { path, manifest }] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const license =
    typeof manifest.license === 'string' ? manifest.license : (manifest.license?.type ?? 'see text');
  const text = manifest.name.startsWith('@img/sharp-libvips')
    ? libvipsNotice(path, manifest)
    : textsOf(path).join('\n\n');
  byText.set(text, [...(byText.get(text) ?? []), `${title} (${license})`]);
}

const rule = '-'.repeat(80);
console.log(
  'Third-party software in this image, by licence text. Packages without a text of their own stand together.\n',
);
for (const [text, titles] of byText) console.log(`${rule}\n${titles.join('\n')}\n\n${text}\n`);
for (const name of ['LGPL-3', 'GPL-3']) {
  console.log(`${rule}\n${name}\n\n${readFileSync(join(licenses, `${name}.txt`), 'utf8')}`);
}
