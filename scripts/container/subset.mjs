// `node subset.mjs FOLDER OUT ENTRY...`: copies what the programs ENTRY import from FOLDER (dist/ and node_modules/) to
// OUT: their files of dist, and their packages with all dependencies. Entries are relative to FOLDER.
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const [folder, out, ...entries] = process.argv.slice(2);
if (entries.length === 0) {
  console.error('usage: subset.mjs FOLDER OUT ENTRY...');
  process.exit(2);
}

/** Every specifier of static and dynamic imports and of require, as the compiler writes them. */
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\)?\(\s*|import\.meta\.url\)\()['"]([^'"\s]+)['"]/g;

const files = new Set();
const packages = new Set();

/** @param path of a file of dist */
function visitFile(path) {
  if (files.has(path)) return;
  files.add(path);
  for (const [, specifier] of readFileSync(path, 'utf8').matchAll(IMPORT)) {
    if (specifier.startsWith('.')) {
      const imported = resolve(dirname(path), specifier);
      if (existsSync(imported)) visitFile(imported);
    } else if (!specifier.startsWith('node:')) {
      const parts = specifier.split('/');
      visitPackage(parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/'), dirname(path));
    }
  }
}

/** Finds a package as Node does: in node_modules of the folder and of the folders above it. */
function visitPackage(name, from) {
  for (let at = resolve(from); at.startsWith(resolve(folder)); at = dirname(at)) {
    const found = join(at, 'node_modules', name);
    if (!existsSync(join(found, 'package.json'))) continue;
    if (packages.has(found)) return;
    packages.add(found);
    const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(
      readFileSync(join(found, 'package.json'), 'utf8'),
    );
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      visitPackage(each, found);
    }
    return;
  }
}

for (const entry of entries) visitFile(resolve(folder, entry));
for (const path of [...files, ...packages]) {
  // Node finds a nested package beside the one that needs it.
  cpSync(path, join(out, relative(folder, path)), { recursive: true });
}
console.log(`subset: ${files.size} files of dist and ${packages.size} packages`);
