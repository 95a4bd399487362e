/** Where the anomaly map of each image goes. */
import { basename, dirname, extname, normalize, relative, resolve, sep } from 'node:path';

const PLACEHOLDER = /\{(name|folder|ext)\}/g;

export function hasPlaceholder(template: string): boolean {
  return template.search(PLACEHOLDER) >= 0;
}

/**
 * @param template path with `{name}` (file name without extension), `{ext}` (extension without dot) and `{folder}` (the
 *   file's folder, below the folder that all files share); other text is taken as it is
 * @returns the path for each of the files
 */
export function mapPaths(template: string, files: readonly string[]): ReadonlyMap<string, string> {
  const shared = sharedFolder(files);
  return new Map(
    files.map((file) => {
      const extension = extname(file);
      const values: Readonly<Record<string, string>> = {
        name: basename(file, extension),
        ext: extension.slice(1),
        folder: relative(shared, dirname(resolve(file))) || '.',
      };
      // In one pass and by a function: names may hold placeholders and `$&` themselves.
      return [file, normalize(template.replace(PLACEHOLDER, (_, key: string) => values[key] ?? ''))];
    }),
  );
}

/** The lowest folder that all files are in. */
function sharedFolder(files: readonly string[]): string {
  const folders = files.map((file) => dirname(resolve(file)).split(sep));
  const [first = [], ...others] = folders;
  let length = first.length;
  for (const folder of others) {
    let common = 0;
    while (common < length && folder[common] === first[common]) common++;
    length = common;
  }
  return first.slice(0, length).join(sep) || sep;
}
