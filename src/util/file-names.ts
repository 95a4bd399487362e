/** Classifies file names: images, files that may be images, and hidden or system files. */
import { extname } from 'node:path';

const IMAGE_EXTENSIONS: ReadonlySet<string> = new Set(['.png', '.jpg', '.jpeg', '.dcm', '.dicom']);

/** Names that operating systems, storage devices and archive programs create, in lower case. */
const SYSTEM_NAMES: ReadonlySet<string> = new Set([
  '__macosx',
  '@eadir',
  '#recycle',
  '$recycle.bin',
  'lost+found',
  'system volume information',
  'desktop.ini',
  // The index of a DICOM file set.
  'dicomdir',
  'ehthumbs.db',
  'thumbs.db',
]);

/** Whether the extension is that of a PNG, JPEG or DICOM file. */
export function isImageName(name: string): boolean {
  return IMAGE_EXTENSIONS.has(extname(name).toLowerCase());
}

/** Whether a file may be DICOM although its extension does not say so: archives name files by UIDs or without extension. */
export function mayBeDicomName(name: string): boolean {
  return /^(\.\d+)?$/.test(extname(name));
}

/** Whether a name is that of a hidden or system file or folder, which holds no data. */
export function isHiddenName(name: string): boolean {
  return name.startsWith('.') || SYSTEM_NAMES.has(name.toLowerCase());
}
