/** `salad phantom`: writes synthetic chest radiographs and lesion masks in the layout that train and evaluate read. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import sharp from 'sharp';
import { SaladError } from '../../errors/index.js';
import { createDisplayTransform, defaultPixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import { phantomDicomFile } from '../../phantom/dicom-file.js';
import { LESION_KINDS, type LesionKind, makePhantom, type Phantom } from '../../phantom/phantom.js';
import { wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { runInterruptible } from '../shared/interrupt.js';
import { createProgress, note, print, printable, printJson } from '../shared/output.js';
import { prepareFolder } from '../shared/output-files.js';

type ImageFormat = 'png' | 'dicom';

interface PhantomFlags {
  readonly count: number;
  readonly seed: number;
  readonly out: string;
  readonly lesion: LesionKind | 'none' | 'mix';
  readonly size: number;
  readonly format: ImageFormat;
  readonly json?: boolean;
}

/** A written radiograph. Paths are relative to the output folder, with forward slashes. */
interface PhantomFile {
  readonly id: string;
  readonly path: string;
  readonly mask: string | null;
  readonly seed: number;
  readonly lesion: LesionKind | 'none';
  readonly box: { top: number; left: number; bottom: number; right: number } | null;
  readonly window: { center: number; width: number };
}

/** Largest seed of a phantom on the command line. */
export const MAX_SEED = 2 ** 31 - 1;

export function registerPhantom(program: Command): void {
  program
    .command('phantom')
    .summary('write synthetic chest radiographs, optionally with lesions')
    .description('Writes synthetic chest radiographs, optionally with lesions and their masks.')
    .requiredOption('--count <n>', 'number of radiographs', wholeNumber(1, 1_000_000))
    .requiredOption('--out <dir>', 'folder to write to; later runs may add to it')
    .option(
      '--seed <n>',
      'seed of the first radiograph; the next ones use the next seeds',
      wholeNumber(0, MAX_SEED),
      1,
    )
    .addOption(
      new Option('--lesion <kind>', 'lesion in each radiograph; mix uses the four kinds in turn')
        .choices([...LESION_KINDS, 'mix', 'none'])
        .default('none'),
    )
    .option('--size <pixels>', 'rows and columns, 64 to 4096', wholeNumber(64, 4096), 512)
    .addOption(
      new Option('--format <format>', 'file format of the radiographs')
        .choices(['png', 'dicom'])
        .default('png'),
    )
    .option('--json', 'print one JSON object with the written files')
    .addHelpText(
      'after',
      helpText(
        [
          'Writes DIR/normal/ID.png or DIR/<lesion>/ID.png, the mask of the lesion as DIR/masks/<lesion>/ID.png ' +
            '(255 inside the lesion), and DIR/manifest.tsv. With --format dicom the radiographs are ID.dcm.',
          'A DICOM file has the 12-bit samples of a detector and their VOI window. A PNG cannot store a window, so it ' +
            'has display values: the window is applied to the samples, and the result uses the full range of 16 bits. ' +
            'The same seed gives the same patient, with and without a lesion.',
        ],
        [
          ['salad phantom --count 200 --seed 1 --out data/phantoms', 'normal images, for training'],
          ['salad phantom --count 40 --seed 5000 --lesion mix --out data/test', 'ten images of each lesion'],
          [
            'salad phantom --count 1 --lesion effusion --size 1024 --out /tmp/p --json',
            'one image, for a program',
          ],
          ['salad phantom --count 1 --format dicom --out /tmp/p', 'a DICOM file'],
        ],
      ),
    )
    .action((flags: PhantomFlags) => runInterruptible((signal) => writePhantoms(flags, signal)));
}

async function writePhantoms(flags: PhantomFlags, signal: AbortSignal): Promise<void> {
  const { count, seed, out } = flags;
  if (seed + count - 1 > MAX_SEED) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--seed ${seed} and --count ${count}: the last seed would be above ${MAX_SEED}; use a lower --seed`,
    );
  }
  const manifest = join(out, 'manifest.tsv');
  // Read before anything is written: a folder with another kind of manifest is refused and stays unchanged.
  const earlier = await readManifest(manifest);
  await prepareFolder('--out', out);
  const progress = createProgress('writing phantoms', count);
  const files: PhantomFile[] = [];
  try {
    for (let i = 0; i < count && !signal.aborted; i++) {
      const lesion = flags.lesion === 'mix' ? LESION_KINDS[i % LESION_KINDS.length]! : flags.lesion;
      files.push(await writePhantom(flags, seed + i, lesion));
      progress.update(i + 1);
    }
  } finally {
    progress.stop();
    // Also after an interrupt or a full disk, so that the manifest lists every written file.
    if (files.length > 0) await writeManifest(manifest, earlier, files);
  }
  if (signal.aborted) note(`salad: interrupted: ${files.length} of ${count} phantoms were written`);
  if (flags.json) printJson({ out, manifest, files });
  else for (const file of files) print(printable(join(out, file.path)));
}

async function writePhantom(
  { out, size, format }: PhantomFlags,
  seed: number,
  lesion: LesionKind | 'none',
): Promise<PhantomFile> {
  const phantom = makePhantom({ seed, lesion, size });
  const id = `phantom-${String(seed).padStart(6, '0')}`;
  const label = phantom.lesion ? phantom.lesion.kind : 'normal';
  const path = `${label}/${id}.${format === 'dicom' ? 'dcm' : 'png'}`;
  await mkdir(join(out, label), { recursive: true });
  if (format === 'dicom') await writeFile(join(out, path), phantomDicomFile(phantom, id));
  else await writePng(join(out, path), displaySamples(phantom), phantom);
  let mask: string | null = null;
  if (phantom.lesion) {
    mask = `masks/${label}/${id}.png`;
    await writePng(
      join(out, mask),
      phantom.lesion.mask.map((value) => value * 255),
      phantom,
    );
  }
  return { id, path, mask, seed, lesion, box: phantom.lesion?.box ?? null, window: phantom.window };
}

/** The display values after the VOI window, scaled to the full range of 16 bits. */
function displaySamples(phantom: Phantom): Uint16Array {
  const transform = createDisplayTransform({
    ...defaultPixelFormat(phantom.rows, phantom.columns, 16, 12),
    voi: { kind: 'window', ...phantom.window, function: 'linear' },
  });
  const stored = phantom.samples;
  const display = new Float32Array(stored.length);
  transform(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength), display);
  return Uint16Array.from(display, (value) => Math.round((value / 255) * 65_535));
}

async function writePng(path: string, samples: Uint8Array | Uint16Array, phantom: Phantom): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const raw = { width: phantom.columns, height: phantom.rows, channels: 1 } as const;
  await sharp(samples, { raw })
    .toColourspace(samples instanceof Uint16Array ? 'grey16' : 'b-w')
    .png()
    .toFile(path);
}

const MANIFEST_HEADER = ['id', 'path', 'patient', 'seed', 'lesion', 'box', 'window'].join('\t');

/**
 * Reads the manifest lines of earlier runs, by path.
 * @throws SaladError CONFIGURATION_INVALID if the file is not a manifest of phantoms
 */
async function readManifest(path: string): Promise<Map<string, string>> {
  const lines = new Map<string, string>();
  if (!existsSync(path)) return lines;
  const [header, ...rows] = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  if (header !== MANIFEST_HEADER) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `${path} is not a manifest of phantoms: choose another --out`,
    );
  }
  for (const row of rows) lines.set(row.split('\t')[1] ?? '', row);
  return lines;
}

/** Writes the lines of earlier runs and of this one; the line of a file that was written again is replaced. */
async function writeManifest(
  path: string,
  earlier: ReadonlyMap<string, string>,
  files: readonly PhantomFile[],
): Promise<void> {
  const lines = new Map(earlier);
  for (const { id, path: file, seed, lesion, box, window } of files) {
    const corners = box ? [box.top, box.left, box.bottom, box.right].join(',') : '';
    // The ID is also the patient, so that a split keeps the phantoms of one seed together, with and without lesions.
    const cells = [id, file, id, seed, lesion, corners, `${window.center},${window.width}`];
    lines.set(file, cells.join('\t'));
  }
  const sorted = [...lines.keys()].sort().map((key) => lines.get(key)!);
  await writeFile(path, `${[MANIFEST_HEADER, ...sorted].join('\n')}\n`);
}
