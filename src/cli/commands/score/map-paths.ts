/** Output paths of the anomaly maps, one per image. */
import { basename, dirname, extname, normalize, relative, resolve, sep } from 'node:path';

const PLACEHOLDER = /\{(name|folder|ext)\}/g;

export function hasPlaceholder(template: string): boolean {
  return template.search(PLACEHOLDER) >= 0;
}

/**
 * @param template path with the placeholders `{name}` (file name without extension), `{ext}` (extension without dot)
 *   and `{folder}` (the file's folder relative to the common parent folder of all files)
 * @returns the path for each file
 */
export function mapPaths(template: string, files: readonly string[]): ReadonlyMap<string, string> {
  const commonFolder = commonFolderOf(files);
  return new Map(
    files.map((file) => {
      const extension = extname(file);
      const values: Readonly<Record<string, string>> = {
        name: basename(file, extension),
        ext: extension.slice(1),
        folder: relative(commonFolder, dirname(resolve(file))) || '.',
      };
      // One pass with a replacement function, because file names may themselves contain placeholders or `$&`.
      return [file, normalize(template.replace(PLACEHOLDER, (_, key: string) => values[key] ?? ''))];
    }),
  );
}

/** The deepest folder that contains all files. */
function commonFolderOf(files: readonly string[]): string {
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
