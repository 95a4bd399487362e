/** The DICOM files that the suite `modality` sends. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makePhantom, PHANTOM_SIZE_MAX } from '../../src/phantom/phantom.js';
import { dicomFile, type SyntaxName } from '../support/dicom-file.js';

const DX = '1.2.840.10008.5.1.4.1.1.1.1';
/** What storescu proposes for a transfer syntax. */
export const SYNTAXES = {
  raw: { syntax: 'explicit', proposal: '-xe' },
  jpegLossless: { syntax: 'jpegLosslessSv1', proposal: '-xs' },
  jpeg2000: { syntax: 'jpeg2000Lossless', proposal: '-xv' },
} as const satisfies Record<string, { readonly syntax: SyntaxName; readonly proposal: string }>;
export type Name = keyof typeof SYNTAXES;
export const NAMES = Object.keys(SYNTAXES) as Name[];

export type Files = Readonly<Record<Name, string>>;

/** One file per transfer syntax, all of the same phantom, whose first rows come again below it if it has too few. */
export async function writeFiles(folder: string, [rows, columns]: readonly [number, number]): Promise<Files> {
  await mkdir(folder, { recursive: true });
  const size = Math.min(PHANTOM_SIZE_MAX, rows);
  const { samples } = makePhantom({ seed: 3, size });
  const cells = new Uint16Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const from = (row % size) * size;
    cells.set(samples.subarray(from, from + columns), row * columns);
  }
  const elements = {
    ...{ '00080016 UI': DX, '00080018 UI': '1.2.3', '0020000D UI': '1.2.4', '0020000E UI': '1.2.5' },
    // storescu replaces these together with the UIDs.
    ...{ '00100010 PN': 'A', '00100020 LO': '1', '00200010 SH': '1', '00200011 IS': '1', '00200013 IS': '1' },
  };
  const paths = NAMES.map(async (name) => {
    const { syntax } = SYNTAXES[name];
    const path = join(folder, `${name}.dcm`);
    await writeFile(path, await dicomFile({ syntax, rows, columns, cells, bitsStored: 12, elements }));
    return [name, path] as const;
  });
  return Object.fromEntries(await Promise.all(paths)) as Files;
}
