/**
 * Decoding of DICOM files: the decoder process, started before and fresh, compared with pydicom and its compiled codecs
 * (from PyPI) on the same files, in turns.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { DicomDecoder } from '../../src/dicom/decoder/dicom-decoder.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { packageRoot } from '../../src/util/package-root.js';
import { dicomFile, type SyntaxName } from '../support/dicom-file.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { installPeer } from '../support/python-packages.js';

const LIMITS = { maxPixels: 64 * 1024 * 1024 };
const SYNTAXES: readonly SyntaxName[] = [
  ...(['explicit', 'deflated', 'jpegBaseline', 'jpegLossless', 'jpegLosslessSv1'] as const),
  ...(['jpegLsLossless', 'jpegLsNear', 'jpeg2000Lossless', 'jpeg2000', 'rle'] as const),
];
/** Public files of other writers; not in the repository. */
const PUBLIC_FILES = join(packageRoot(), '../shared/data/dicom');

type Figures = Record<string, unknown>;

export async function benchDicom({ quick }: BenchOptions): Promise<Figures> {
  const [rounds, size] = quick ? [2, 256] : [5, 2240];
  const folder = await mkdtemp(join(tmpdir(), 'salad-bench-dicom-'));
  const decoder = new DicomDecoder({ processes: 1 });
  const pydicom = await Pydicom.start();
  try {
    const files = [...(await writeFiles(folder, size)), ...(await publicFiles(quick))];
    const results: Figures = {};
    for (const file of files) results[basename(file)] = await compare(file, decoder, pydicom, rounds);
    return {
      pydicom: pydicom.version,
      rounds,
      synthetic: `${size} x ${size}, 12 bit (8 for jpegBaseline)`,
      startMs: await startTimes(files[0]!, rounds),
      milliseconds: results,
    };
  } finally {
    await pydicom.stop();
    await decoder.close();
    await rm(folder, { recursive: true });
  }
}

/** One file per transfer syntax, all of the same phantom. */
async function writeFiles(folder: string, size: number): Promise<readonly string[]> {
  const { samples } = makePhantom({ seed: 3, size });
  const paths: string[] = [];
  for (const syntax of SYNTAXES) {
    const isByte = syntax === 'jpegBaseline';
    const cells = isByte ? Uint8Array.from(samples, (value) => value >> 4) : samples;
    const bytes = await dicomFile({ syntax, rows: size, columns: size, cells, bitsStored: isByte ? 8 : 12 });
    const path = join(folder, `${syntax}.dcm`);
    await writeFile(path, bytes);
    paths.push(path);
  }
  return paths;
}

async function publicFiles(quick: boolean): Promise<readonly string[]> {
  if (!existsSync(PUBLIC_FILES)) return [];
  const names = (await readdir(PUBLIC_FILES)).filter((name) => name.endsWith('.dcm')).sort();
  return names.slice(0, quick ? 2 : names.length).map((name) => join(PUBLIC_FILES, name));
}

interface Decoded {
  readonly milliseconds: number;
  readonly sha256: string;
}

/** Times from the path to the cells of all frames, with the process started before. */
async function decode(decoder: DicomDecoder, path: string): Promise<Decoded> {
  const started = performance.now();
  const file = await decoder.open(await readFile(path), LIMITS);
  try {
    const frames: Uint8Array[] = [];
    for (let frame = 0; frame < file.frames; frame++) frames.push((await file.frame(frame)).samples);
    const milliseconds = performance.now() - started;
    const hash = createHash('sha256');
    for (const samples of frames) hash.update(samples);
    return { milliseconds, sha256: hash.digest('hex') };
  } finally {
    file.close();
  }
}

async function compare(
  path: string,
  decoder: DicomDecoder,
  pydicom: Pydicom,
  rounds: number,
): Promise<Figures> {
  const [ours, peers]: [number[], number[]] = [[], []];
  let isEqual = true;
  let peerError: string | undefined;
  // The two take turns, so that other work of the machine affects both; the first round warms up.
  for (let round = 0; round <= rounds; round++) {
    const own = await decode(decoder, path);
    if (round > 0) ours.push(own.milliseconds);
    const peer = await pydicom.decode(path);
    if ('error' in peer) {
      peerError = peer.error;
      continue;
    }
    if (round > 0) peers.push(peer.milliseconds);
    isEqual &&= peer.sha256 === own.sha256;
  }
  const own = { ours: median(ours), oursSpread: spread(ours) };
  if (peerError !== undefined) return { ...own, pydicomError: peerError };
  const [oursMs, peerMs] = [median(ours), median(peers)];
  return {
    ...own,
    pydicom: peerMs,
    pydicomSpread: spread(peers),
    'ours / pydicom': oursMs / peerMs,
    sameCells: isEqual,
  };
}

/** From nothing to the first image: start of the process, parsing, decoding. */
async function startTimes(path: string, rounds: number): Promise<Figures> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const fresh = new DicomDecoder({ processes: 1 });
    times.push((await decode(fresh, path)).milliseconds);
    await fresh.close();
  }
  return { firstImage: median(times), spread: spread(times), file: basename(path) };
}

type PeerAnswer = Decoded | { readonly error: string };

/** A Python process that decodes the files named on its stdin. */
class Pydicom {
  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, null>,
    private readonly lines: AsyncIterator<string>,
    readonly version: string,
  ) {}

  static async start(): Promise<Pydicom> {
    const { python, sources } = installPeer('pydicom');
    const child = spawn(python, [join(sources, 'decode.py')], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { version } = JSON.parse(await nextLine(lines)) as { readonly version: string };
    return new Pydicom(child, lines, version);
  }

  async decode(path: string): Promise<PeerAnswer> {
    this.child.stdin.write(`${path}\n`);
    return JSON.parse(await nextLine(this.lines)) as PeerAnswer;
  }

  async stop(): Promise<void> {
    this.child.stdin.end();
    await this.lines.return?.();
  }
}

async function nextLine(lines: AsyncIterator<string>): Promise<string> {
  const { value, done } = await lines.next();
  if (done) throw new Error('the Python process ended; see its output above');
  return value;
}
