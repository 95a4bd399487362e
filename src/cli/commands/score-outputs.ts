/** Where the results of `salad score` go: stdout as they come, files that are tried before anything is scored. */
import { appendFile, writeFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { failureOf } from '../shared/failure.js';
import { EXIT, isStdoutClosed, note, print, printable, printJson } from '../shared/output.js';
import { type OutputFile, prepareFiles } from '../shared/output-files.js';
import { hasPlaceholder, mapPaths } from './map-paths.js';
import { writeScoreReport } from './score-report.js';
import {
  aggregateJson,
  CSV_HEADER,
  csvOf,
  type DicomSource,
  groupJson,
  type ImageResult,
  labelOf,
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

/** A scored image with the PNG of its anomaly map, which the report shows. */
export type ReportedImage = ScoredImage & { overlay?: Uint8Array | undefined };

/** More maps than anybody looks through would not fit into one HTML page. */
const MAX_REPORT_MAPS = 200;

export class ScoreOutputs {
  readonly #flags: ScoreOutputFlags;
  #total: number;
  readonly #maps: ReadonlyMap<string, string>;
  /** Absolute paths of all inputs. */
  readonly #inputs: ReadonlySet<string>;
  readonly #results: (ImageResult | ReportedImage)[] = [];
  /** Images whose map the report will show, in no order. */
  readonly #shown: ReportedImage[] = [];
  #mapCount = 0;
  #lastMap = '';

  private constructor(
    flags: ScoreOutputFlags,
    files: readonly string[],
    maps: ReadonlyMap<string, string>,
    total: number,
  ) {
    this.#flags = flags;
    this.#inputs = new Set(files.map((file) => resolve(file)));
    this.#maps = maps;
    this.#total = total;
  }

  /**
   * @param files to be scored
   * @param total these and the paths that stand for no image
   * @throws SaladError CONFIGURATION_INVALID where an output cannot be written, or would overwrite an input or another
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
    const maps = anomalyMap === undefined ? new Map<string, string>() : mapPaths(anomalyMap, files);
    const outputs: OutputFile[] = [
      ...(report === undefined ? [] : [{ flag: '--report', path: report }]),
      ...(csv === undefined ? [] : [{ flag: '--csv', path: csv }]),
      ...[...maps].map(([input, path]) => ({ flag: '--anomaly-map', path, input })),
    ];
    await prepareFiles(outputs, files);
    return new ScoreOutputs(flags, files, maps, total);
  }

  /** Empties the CSV file: from here on results are written. */
  async begin(): Promise<void> {
    if (this.#flags.csv !== undefined) await writing(this.#flags.csv, (path) => writeFile(path, CSV_HEADER));
  }

  /** Nobody would see what else is scored. */
  get isUseless(): boolean {
    const { anomalyMap, report, csv, json } = this.#flags;
    return json === true && isStdoutClosed() && [anomalyMap, report, csv].every((file) => file === undefined);
  }

  /** Prints an image's result and writes its map and its line of CSV. */
  async add(image: ScoredImage): Promise<void> {
    const overlay = image.aggregate.anomalyMap?.data;
    const anomalyMap = await this.#writeMap(image, overlay);
    if (this.#flags.json)
      printJson({ ...aggregateJson(image), ...(anomalyMap === undefined ? {} : { anomalyMap }) });
    // The map itself is many times the size of the rest.
    const result: ReportedImage = { ...image, aggregate: { ...image.aggregate, anomalyMap: undefined } };
    if (this.#flags.report !== undefined) this.#keepMap(result, overlay);
    await this.#keep(result);
  }

  async addFailure(file: string, error: unknown, source?: DicomSource): Promise<void> {
    process.exitCode = EXIT.failure;
    const { message, ...rest } = failureOf(error);
    // Errors of the file system name the file themselves.
    const failure = {
      ...rest,
      message: message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message,
    };
    const named = source === undefined ? {} : { source };
    if (this.#flags.json) printJson({ event: 'error', file, ...named, ...failure });
    note(failureLine(labelOf({ file, ...named }), failure.message));
    await this.#keep({ file, ...named, failure });
  }

  /** All frames of a file are there. Prints what they come to, where there are several. */
  endFile(file: string): void {
    const group = this.#results.at(-1)?.source?.group;
    if (!this.#flags.json || group === undefined) return;
    const frames = this.#results.filter(({ source }) => source?.group === group);
    printJson(groupJson(file, frames));
  }

  /** Prints the table and writes the report, also where not all files were scored. */
  async finish(): Promise<void> {
    const { json, report } = this.#flags;
    const total = this.#total;
    if (!json && this.#results.length > 0) {
      print(scoreTable(this.#results));
      if (total > 1) print(`\n${summaryOf(this.#results, total)}`);
    }
    if (this.#mapCount === 1) note(`anomaly map: ${printable(this.#lastMap)}`);
    else if (this.#mapCount > 1)
      note(`${this.#mapCount} anomaly maps, the last: ${printable(this.#lastMap)}`);
    if (report === undefined) return;
    await writeScoreReport(report, this.#results, total);
    note(`report: ${printable(report)}`);
  }

  async #keep(result: ImageResult): Promise<void> {
    // A file of several frames was counted as one image.
    if ((result.source?.frame ?? 1) > 1) this.#total += 1;
    this.#results.push(result);
    if (this.#flags.csv !== undefined)
      await writing(this.#flags.csv, (path) => appendFile(path, csvOf(result)));
  }

  /** Of the images so far, the highest scores keep their maps. */
  #keepMap(image: ReportedImage, overlay: Uint8Array | undefined): void {
    if (overlay === undefined) return;
    image.overlay = overlay;
    this.#shown.push(image);
    if (this.#shown.length <= MAX_REPORT_MAPS) return;
    this.#shown.sort((a, b) => b.aggregate.imageScore - a.aggregate.imageScore);
    const lowest = this.#shown.pop();
    if (lowest) lowest.overlay = undefined;
  }

  /** A map that cannot be written does not make the scores wrong: they are printed, and the exit code is 1. */
  async #writeMap(image: ScoredImage, overlay: Uint8Array | undefined): Promise<string | undefined> {
    const template = this.#maps.get(image.file);
    if (template === undefined) return undefined;
    const path = framePath(template, image.source);
    try {
      if (this.#inputs.has(resolve(path))) throw new Error(`${path} is one of the images`);
      if (overlay === undefined) throw new Error('the server sent no anomaly map');
      await writeFile(path, overlay);
    } catch (error) {
      process.exitCode = EXIT.failure;
      note(failureLine(labelOf(image), `no anomaly map: ${failureOf(error).message}`));
      return undefined;
    }
    this.#mapCount++;
    this.#lastMap = path;
    return path;
  }
}

/** The number of the frame before the extension, where a file has several. */
function framePath(path: string, source: DicomSource | undefined): string {
  if (source === undefined || source.frames === 1) return path;
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}-${source.frame}${extension}`;
}

/** Errors of a write that has begun do not name the file. */
async function writing(path: string, write: (path: string) => Promise<void>): Promise<void> {
  try {
    await write(path);
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { path });
  }
}

function failureLine(file: string, message: string): string {
  return `salad: ${printable(file)}: ${message}`;
}
