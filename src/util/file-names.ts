/** Classifies file names: images, and hidden or system files. */
import { extname } from 'node:path';

const IMAGE_EXTENSIONS: ReadonlySet<string> = new Set(['.png', '.jpg', '.jpeg']);

/** Names that operating systems, storage devices and archive programs create, in lower case. */
const SYSTEM_NAMES: ReadonlySet<string> = new Set([
  '__macosx',
  '@eadir',
  '#recycle',
  '$recycle.bin',
  'lost+found',
  'system volume information',
  'desktop.ini',
  'ehthumbs.db',
  'thumbs.db',
]);

/** Whether the extension is that of a PNG or JPEG file. */
export function isImageName(name: string): boolean {
  return IMAGE_EXTENSIONS.has(extname(name).toLowerCase());
}

/** Whether a name is that of a hidden or system file or folder, which holds no data. */
export function isHiddenName(name: string): boolean {
  return name.startsWith('.') || SYSTEM_NAMES.has(name.toLowerCase());
}
