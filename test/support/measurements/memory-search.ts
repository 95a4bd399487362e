/** Searches the memory of a running process, as Linux shows it in /proc. */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';

const CHUNK_BYTES = 4 * 1024 * 1024;
const PAGE_BYTES = 4096;
/** Addresses above belong to the kernel. */
const ADDRESS_MAX = 2 ** 47;

interface Mapping {
  readonly start: number;
  readonly end: number;
}

const ENCODINGS = ['latin1', 'utf16le'] as const;

export interface TextInMemory {
  readonly text: string;
  readonly encoding: (typeof ENCODINGS)[number];
}

/**
 * @returns those of the texts that the process or one that it started has in its memory, with one byte a character or
 *   two, as V8 keeps strings; each once
 */
export function textsInMemory(pid: number, texts: readonly string[]): readonly TextInMemory[] {
  const needles = texts.flatMap((text) =>
    ENCODINGS.map((encoding) => ({ text, encoding, bytes: Buffer.from(text, encoding) })),
  );
  const found = new Set<Needle>();
  for (const each of withDescendants(pid)) search(each, needles, found);
  return [...found].map(({ text, encoding }) => ({ text, encoding }));
}

interface Needle extends TextInMemory {
  readonly bytes: Buffer;
}

function search(pid: number, needles: readonly Needle[], found: Set<Needle>): void {
  // What lies across the border of two chunks is whole in the second one.
  const overlap = Math.max(...needles.map(({ bytes }) => bytes.length)) - 1;
  const buffer = Buffer.alloc(overlap + CHUNK_BYTES);
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  let readBytes = 0;
  try {
    for (const { start, end } of residentMappings(pid)) {
      let kept = 0;
      for (let at = start; at < end; ) {
        const length = readAt(memory, buffer, kept, at, Math.min(CHUNK_BYTES, end - at));
        const held = buffer.subarray(0, kept + length);
        for (const needle of needles) if (held.includes(needle.bytes)) found.add(needle);
        readBytes += length;
        kept = length === 0 ? 0 : Math.min(overlap, held.length);
        held.copyWithin(0, held.length - kept);
        at += length === 0 ? PAGE_BYTES : length;
      }
    }
  } finally {
    closeSync(memory);
  }
  if (readBytes === 0) throw new Error(`nothing of the memory of process ${pid} could be read`);
}

/** @returns 0 where the first page cannot be read, such as one that was unmapped meanwhile */
function readAt(file: number, buffer: Buffer, offset: number, at: number, length: number): number {
  try {
    return readSync(file, buffer, offset, length, at);
  } catch {
    return 0;
  }
}

/** Readable mappings of which pages are in memory. */
function residentMappings(pid: number): readonly Mapping[] {
  const mappings: Mapping[] = [];
  let current: Mapping | undefined;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (r)?/.exec(line);
    if (head !== null) {
      const [start = 0, end = 0] = head.slice(1, 3).map((address) => Number.parseInt(address, 16));
      current = head[3] === 'r' && end <= ADDRESS_MAX ? { start, end } : undefined;
    } else if (current !== undefined && /^(Rss|Swap): +[1-9]/.test(line) && mappings.at(-1) !== current) {
      mappings.push(current);
    }
  }
  return mappings;
}

function withDescendants(pid: number): readonly number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(withDescendants)];
}
