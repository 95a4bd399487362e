/** Writes every acquisition of a load as a line of CSV or JSON while the load runs. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { RequestRecord } from '../../../../clients/load/src/index.js';
import { systemReason } from '../../../errors/index.js';
import { csvLine } from '../../../util/csv.js';
import type { LoadFlags } from './flags.js';

const COLUMNS = [
  ...['file', 'id', 'model', 'mode', 'stream', 'counted', 'scheduledAtMs', 'latenessMs', 'latencyMs'],
  ...['status', 'reason', 'retries', 'scoredTiles'],
] as const satisfies readonly (keyof RequestRecord)[];

export interface RequestWriter {
  write(record: RequestRecord): void;
  /** @throws Error if a file could not be written */
  close(): Promise<void>;
}

/** Undefined without --csv and --jsonl. */
export function createRequestWriter({ csv, jsonl }: LoadFlags): RequestWriter | undefined {
  if (csv === undefined && jsonl === undefined) return undefined;
  const table = open('--csv', csv);
  const lines = open('--jsonl', jsonl);
  table?.stream.write(`${csvLine(COLUMNS)}\n`);
  return {
    write(record) {
      table?.stream.write(`${csvLine(COLUMNS.map((key) => cell(record[key])))}\n`);
      lines?.stream.write(`${JSON.stringify(record)}\n`);
    },
    async close() {
      await table?.close();
      await lines?.close();
    },
  };
}

function cell(value: string | number | boolean): string | number {
  return typeof value === 'number' ? Number(value.toFixed(3)) : String(value);
}

function open(flag: string, path: string | undefined) {
  if (path === undefined) return undefined;
  const stream: WriteStream = createWriteStream(path);
  const written = finished(stream).catch((error: unknown) => {
    throw new Error(`${flag} ${path} cannot be written: ${systemReason(error)}`, { cause: error });
  });
  // The error is thrown by `close`.
  written.catch(() => {});
  return {
    stream,
    close() {
      stream.end();
      return written;
    },
  };
}
