// `node notices.mjs NODE_MODULES`: prints the name, version, licence and licence text of all packages in an image, as
// their licences require for redistribution; for libvips (LGPL) also how to get its sources and replace it, and for the
// codecs of DICOM files the licences of the libraries compiled into them.
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

/** Licences of libraries that packages contain in compiled form, without their texts. */
const COMPILED = {
  'dcmjs-codecs': 'dicom-codecs.txt',
  '@cornerstonejs/codec-charls': 'dicom-codecs.txt',
};

/** Folders of all packages in a node_modules folder, including nested ones. */
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

/** libvips and the libraries linked with it are one shared library under the LGPL. */
function libvipsNotice(path, { name, version }) {
  return `${readFileSync(join(path, 'README.md'), 'utf8').trim()}

The sources of version ${version}, and how the library is built, are at https://github.com/lovell/sharp-libvips; versions.json
in the folder of the package lists the versions of its components. The library is linked dynamically: you may replace
lib/libvips-cpp.so.* in node_modules/${name} with your own build. The licences LGPL-3 and GPL-3 are at the end.`;
}

const packages = new Map();
for (const path of packagesIn(folder)) {
  const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  // Some packages contain folders whose package.json has no name and only sets how their files are loaded.
  if (manifest.name && manifest.version)
    packages.set(`${manifest.name} ${manifest.version}`, { path, manifest });
}

/** Package titles by licence text, so that each text is printed once. */
const titlesByText = new Map();
for (const [title, { path, manifest }] of [...packages].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const license =
    typeof manifest.license === 'string' ? manifest.license : (manifest.license?.type ?? 'see text');
  const text = manifest.name.startsWith('@img/sharp-libvips')
    ? libvipsNotice(path, manifest)
    : textsOf(path).join('\n\n');
  titlesByText.set(text, [...(titlesByText.get(text) ?? []), `${title} (${license})`]);
}

const rule = '-'.repeat(80);
const compiled = new Set([...packages.values()].flatMap(({ manifest }) => COMPILED[manifest.name] ?? []));
console.log(
  'Third-party software in this image, grouped by licence text. Packages without a licence text form one group.\n',
);
for (const [text, titles] of titlesByText) console.log(`${rule}\n${titles.join('\n')}\n\n${text}\n`);
for (const name of compiled) console.log(`${rule}\n${readFileSync(join(licenses, name), 'utf8')}`);
for (const name of ['LGPL-3', 'GPL-3']) {
  console.log(`${rule}\n${name}\n\n${readFileSync(join(licenses, `${name}.txt`), 'utf8')}`);
}
