/** `salad phantom`: synthetic chest radiographs and lesion masks, laid out as `salad train` and `evaluate` read them. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import sharp from 'sharp';
import { SaladError } from '../../errors/index.js';
import { createDisplayTransform, defaultPixelFormat } from '../../imaging/pixel-format.js';
import { LESION_KINDS, type LesionKind, makePhantom, type Phantom } from '../../phantom/phantom.js';
import { wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { untilInterrupted } from '../shared/interrupt.js';
import { createProgress, note, print, printable, printJson } from '../shared/output.js';
import { prepareFolder } from '../shared/output-files.js';

interface PhantomFlags {
  readonly count: number;
  readonly seed: number;
  readonly out: string;
  readonly lesion: LesionKind | 'none' | 'mix';
  readonly size: number;
  readonly json?: boolean;
}

/** One written radiograph; paths are relative to the output folder, with forward slashes. */
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
    .summary('write synthetic chest radiographs, with lesions if wanted')
    .description('Writes synthetic chest radiographs, with lesions and their masks if wanted.')
    .requiredOption('--count <n>', 'how many', wholeNumber(1, 1_000_000))
    .requiredOption('--out <dir>', 'folder to write to; later runs may add to it')
    .option('--seed <n>', 'seed of the first; the others count up from it', wholeNumber(0, MAX_SEED), 1)
    .addOption(
      new Option('--lesion <kind>', 'what each of them shows; mix takes the four in turn')
        .choices([...LESION_KINDS, 'mix', 'none'])
        .default('none'),
    )
    .option('--size <pixels>', 'rows and columns, 64 to 4096', wholeNumber(64, 4096), 512)
    .option('--json', 'print one JSON object with the files written')
    .addHelpText(
      'after',
      helpText(
        [
          'Writes DIR/normal/ID.png or DIR/<lesion>/ID.png, the mask of the lesion as DIR/masks/<lesion>/ID.png ' +
            '(255 on it), and DIR/manifest.tsv.',
          'The images are 16-bit grey PNGs of display values: a PNG cannot carry the window of a detector, so it ' +
            'is applied, and the full range of the PNG shows what the windowed 12-bit original shows. The same ' +
            'seed is the same patient, with a lesion or without.',
        ],
        [
          ['salad phantom --count 200 --seed 1 --out data/phantoms', 'normal ones, to train on'],
          ['salad phantom --count 40 --seed 5000 --lesion mix --out data/test', 'ten of each lesion'],
          ['salad phantom --count 1 --lesion effusion --size 1024 --out /tmp/p --json', 'one, for a program'],
        ],
      ),
    )
    .action((flags: PhantomFlags) => untilInterrupted((signal) => writePhantoms(flags, signal)));
}

async function writePhantoms(flags: PhantomFlags, signal: AbortSignal): Promise<void> {
  const { count, seed, size, out } = flags;
  if (seed + count - 1 > MAX_SEED) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--seed ${seed} and --count ${count} lead beyond ${MAX_SEED}`,
    );
  }
  const manifest = join(out, 'manifest.tsv');
  // Read first: a folder that belongs to something else is refused before anything is written to it.
  const earlier = await readManifest(manifest);
  await prepareFolder('--out', out);
  const progress = createProgress('phantoms', count);
  const files: PhantomFile[] = [];
  try {
    for (let i = 0; i < count && !signal.aborted; i++) {
      const lesion = flags.lesion === 'mix' ? LESION_KINDS[i % LESION_KINDS.length]! : flags.lesion;
      files.push(await writePhantom(out, seed + i, lesion, size));
      progress.update(i + 1);
    }
  } finally {
    progress.stop();
    // Also after an interrupt or a full disk: what was written is listed.
    if (files.length > 0) await writeManifest(manifest, earlier, files);
  }
  if (signal.aborted) note(`salad: interrupted: ${files.length} of ${count} phantoms were written`);
  if (flags.json) printJson({ out, manifest, files });
  else for (const file of files) print(printable(join(out, file.path)));
}

async function writePhantom(
  out: string,
  seed: number,
  lesion: LesionKind | 'none',
  size: number,
): Promise<PhantomFile> {
  const phantom = makePhantom({ seed, lesion, size });
  const id = `phantom-${String(seed).padStart(6, '0')}`;
  const label = phantom.lesion ? phantom.lesion.kind : 'normal';
  const path = `${label}/${id}.png`;
  await writePng(join(out, path), displaySamples(phantom), phantom);
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

/** The windowed display values over the full range of 16 bits. */
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

/** Lines of earlier runs by path. */
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

/** Adds to the lines of earlier runs; a file written again replaces its line. */
async function writeManifest(
  path: string,
  earlier: ReadonlyMap<string, string>,
  files: readonly PhantomFile[],
): Promise<void> {
  const lines = new Map(earlier);
  for (const { id, path: file, seed, lesion, box, window } of files) {
    const corners = box ? [box.top, box.left, box.bottom, box.right].join(',') : '';
    // One patient per seed: the normal phantom of a seed and its copies with lesions never straddle a split.
    const cells = [id, file, id, seed, lesion, corners, `${window.center},${window.width}`];
    lines.set(file, cells.join('\t'));
  }
  const sorted = [...lines.keys()].sort().map((key) => lines.get(key)!);
  await writeFile(path, `${[MANIFEST_HEADER, ...sorted].join('\n')}\n`);
}
