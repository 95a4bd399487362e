/** Outputs of `salad score`: stdout, and files whose paths are checked before the first image is scored. */
import { appendFile, writeFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { type DrawnMap, pictureLayers } from '../../imaging/map-drawing.js';
import { failureOf } from '../shared/failure.js';
import { EXIT, isStdoutClosed, note, print, printable, printJson } from '../shared/output.js';
import { type OutputFile, prepareFiles } from '../shared/output-files.js';
import { hasPlaceholder, mapPaths } from './map-paths.js';
import { drawnMapOf, overlayWithLegendPng, type SourcePixels } from './score-drawing.js';
import { type ReportedImage, rankingScore, writeScoreReport } from './score-report.js';
import {
  aggregateJson,
  CSV_HEADER,
  csvOf,
  type DicomSource,
  type FailedImage,
  groupJson,
  labelOf,
  notScored,
  type ScoredImage,
  scoreTable,
  summaryOf,
} from './score-results.js';

export interface ScoreOutputFlags {
  readonly anomalyMap?: string;
  readonly report?: string;
  readonly csv?: string;
  readonly json?: boolean;
}

/** Limits the size of the HTML report, which embeds the pictures: about 60 kB each. */
const MAX_REPORT_PICTURES = 200;

export class ScoreOutputs {
  readonly #flags: ScoreOutputFlags;
  #total: number;
  readonly #mapPathByFile: ReadonlyMap<string, string>;
  /** Absolute paths of all images to score. */
  readonly #inputs: ReadonlySet<string>;
  readonly #results: (FailedImage | ReportedImage)[] = [];
  /** Images that the report will show with their pictures, unordered. */
  readonly #imagesWithPicture: ReportedImage[] = [];
  readonly #files: readonly string[];
  #mapCount = 0;
  #lastMapPath = '';

  private constructor(
    flags: ScoreOutputFlags,
    files: readonly string[],
    mapPathByFile: ReadonlyMap<string, string>,
    total: number,
  ) {
    this.#flags = flags;
    this.#files = files;
    this.#inputs = new Set(files.map((file) => resolve(file)));
    this.#mapPathByFile = mapPathByFile;
    this.#total = total;
  }

  /**
   * Checks that every output can be written.
   * @param files images to score
   * @param total number of these images and of the paths without an image
   * @throws SaladError CONFIGURATION_INVALID if an output cannot be written, or would overwrite an input or another output
   */
  static async open(
    flags: ScoreOutputFlags,
    files: readonly string[],
    total = files.length,
  ): Promise<ScoreOutputs> {
    const { anomalyMap, report, csv } = flags;
    if (anomalyMap !== undefined && files.length > 1 && !hasPlaceholder(anomalyMap)) {
      throw new SaladError(
        'CONFIGURATION_INVALID',
        `--anomaly-map ${anomalyMap} is one file for ${files.length} images: put {name} into it`,
      );
    }
    const mapPathByFile = anomalyMap === undefined ? new Map<string, string>() : mapPaths(anomalyMap, files);
    for (const path of mapPathByFile.values()) refuseOtherThanPng(path);
    const outputs: OutputFile[] = [
      ...(report === undefined ? [] : [{ flag: '--report', path: report, format: 'html' as const }]),
      ...(csv === undefined ? [] : [{ flag: '--csv', path: csv, format: 'csv' as const }]),
      ...[...mapPathByFile].map(([input, path]) => ({ flag: '--anomaly-map', path, input })),
    ];
    await prepareFiles(outputs, files);
    return new ScoreOutputs(flags, files, mapPathByFile, total);
  }

  /** Writes the header of the CSV file, which removes its old content. */
  async begin(): Promise<void> {
    if (this.#flags.csv !== undefined) await withPath(this.#flags.csv, (path) => writeFile(path, CSV_HEADER));
  }

  /** Whether further results could not be output anywhere, so that scoring can stop. */
  get isClosed(): boolean {
    const { anomalyMap, report, csv, json } = this.#flags;
    return json === true && isStdoutClosed() && [anomalyMap, report, csv].every((file) => file === undefined);
  }

  /**
   * Prints the result of an image, and writes its anomaly map and CSV line.
   * @param readPixels decodes the image, for its anomaly map
   */
  async add(image: ScoredImage, readPixels: () => Promise<SourcePixels>): Promise<void> {
    const drawn = await this.#draw(image, readPixels);
    const anomalyMap = await this.#writeMap(image, drawn);
    if (this.#flags.json)
      printJson({ ...aggregateJson(image), ...(anomalyMap === undefined ? {} : { anomalyMap }) });
    const result = withoutMapData(image);
    if (this.#flags.report !== undefined && drawn !== undefined) await this.#addPicture(result, drawn);
    await this.#addResult(result);
  }

  async addFailure(file: string, error: unknown, source?: DicomSource): Promise<void> {
    process.exitCode = EXIT.failure;
    const { message, ...rest } = failureOf(error);
    // Errors of the file system start with the file name, which the output has already.
    const failure = {
      ...rest,
      message: message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message,
    };
    const named = source === undefined ? { file } : { file, source };
    if (this.#flags.json) printJson({ event: 'error', ...named, ...failure });
    note(failureLine(labelOf(named), failure.message));
    await this.#addResult({ ...named, failure });
  }

  /** Prints the summary of a file with several frames; call it after the last frame. */
  endFile(file: string): void {
    const group = this.#results.at(-1)?.source?.group;
    if (!this.#flags.json || group === undefined) return;
    const frames = this.#results.filter(({ source }) => source?.group === group);
    printJson(groupJson(file, frames));
  }

  /**
   * Prints the table and writes the report, also if not all files were scored.
   * @param whyNotScored for the lines of the CSV file about images that were not scored
   */
  async finish(whyNotScored: string): Promise<void> {
    const { json, report } = this.#flags;
    const total = this.#total;
    if (!json) {
      if (this.#results.length > 0) print(scoreTable(this.#results));
      if (total > 1) print(`\n${summaryOf(this.#results, total)}`);
    }
    await this.#writeNotScored(whyNotScored);
    if (this.#mapCount === 1) note(`anomaly map: ${printable(this.#lastMapPath)}`);
    else if (this.#mapCount > 1)
      note(`${this.#mapCount} anomaly maps, the last: ${printable(this.#lastMapPath)}`);
    if (report === undefined) return;
    await writeScoreReport(report, this.#results, { total });
    note(`report: ${printable(report)}`);
  }

  /** Every image has its line of CSV, so that a missing line is never taken for an image that is all right. */
  async #writeNotScored(why: string): Promise<void> {
    const { csv } = this.#flags;
    if (csv === undefined) return;
    const failure = { status: null, reason: null, message: `not scored: ${why}` };
    const results = notScored(this.#files, this.#results).map((image) => csvOf({ ...image, failure }));
    if (results.length > 0) await withPath(csv, (path) => appendFile(path, results.join('')));
  }

  async #addResult(result: FailedImage | ReportedImage): Promise<void> {
    // The total counts a file with several frames once.
    if ((result.source?.frame ?? 1) > 1) this.#total += 1;
    this.#results.push(result);
    if (this.#flags.csv !== undefined)
      await withPath(this.#flags.csv, (path) => appendFile(path, csvOf(result)));
  }

  /**
   * Draws the anomaly map of an image where an output shows it. A failure is reported and sets exit code 1; the scores are
   * still valid and are printed.
   */
  async #draw(image: ScoredImage, readPixels: () => Promise<SourcePixels>): Promise<DrawnMap | undefined> {
    if (this.#flags.report === undefined && !this.#mapPathByFile.has(image.file)) return undefined;
    try {
      return drawnMapOf(await readPixels(), image.aggregate);
    } catch (error) {
      this.#noteNoMap(image, error);
      return undefined;
    }
  }

  /** Keeps the pictures of the highest-scoring images so far, at most MAX_REPORT_PICTURES. */
  async #addPicture(image: ReportedImage, drawn: DrawnMap): Promise<void> {
    image.layers = await pictureLayers(drawn);
    this.#imagesWithPicture.push(image);
    if (this.#imagesWithPicture.length <= MAX_REPORT_PICTURES) return;
    this.#imagesWithPicture.sort((a, b) => rankingScore(b) - rankingScore(a));
    const lowest = this.#imagesWithPicture.pop();
    if (lowest) lowest.layers = undefined;
  }

  /**
   * Writes the map of an image with its colour bar.
   * @returns the path; undefined if no map was written, which is reported as in `#draw`
   */
  async #writeMap(image: ScoredImage, drawn: DrawnMap | undefined): Promise<string | undefined> {
    const filePath = this.#mapPathByFile.get(image.file);
    if (filePath === undefined || drawn === undefined) return undefined;
    const path = framePath(filePath, image.source);
    try {
      if (this.#inputs.has(resolve(path))) throw new Error(`${path} is one of the images`);
      await writeFile(path, await overlayWithLegendPng(drawn, image.aggregate));
    } catch (error) {
      this.#noteNoMap(image, error);
      return undefined;
    }
    this.#mapCount++;
    this.#lastMapPath = path;
    return path;
  }

  #noteNoMap(image: ScoredImage, error: unknown): void {
    process.exitCode = EXIT.failure;
    note(failureLine(labelOf(image), `no anomaly map: ${failureOf(error).message}`));
  }
}

/** A name that promises another format would hold PNG all the same. @throws SaladError CONFIGURATION_INVALID */
function refuseOtherThanPng(path: string): void {
  if (/\.png$/i.test(path) || path.startsWith('/dev/')) return;
  const message = `--anomaly-map ${path}: maps are written as PNG, so the name must end in .png`;
  throw new SaladError('CONFIGURATION_INVALID', message);
}

/** Results are kept until the end, but without the values of their map, which are many times larger than the rest. */
function withoutMapData(image: ScoredImage): ReportedImage {
  const { anomalyMap } = image.aggregate;
  if (anomalyMap === undefined) return { ...image };
  return {
    ...image,
    aggregate: { ...image.aggregate, anomalyMap: { ...anomalyMap, data: new Uint8Array() } },
  };
}

/** Adds the number of the frame before the extension, if the file has several frames. */
function framePath(path: string, source: DicomSource | undefined): string {
  if (source === undefined || source.frames === 1) return path;
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}-${source.frame}${extension}`;
}

/** Runs a write and adds the path to its error, which a failed write to an open file lacks. */
async function withPath(path: string, write: (path: string) => Promise<void>): Promise<void> {
  try {
    await write(path);
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { path });
  }
}

function failureLine(file: string, message: string): string {
  return `salad: ${printable(file)}: ${message}`;
}
