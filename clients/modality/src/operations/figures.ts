/** What the gauges of the gateway show: read from the inbox, so that they are right after a restart. */
import { readDiskSpace } from '../inbox/disk-space.js';
import type { InboxFolders } from '../inbox/folders.js';
import type { DeliveryCount, IndexReader } from '../inbox/index-reader.js';
import { deadLetterReason, type State } from '../inbox/instance.js';

export interface InboxFigures {
  readonly counts: Readonly<Record<State, number>>;
  /** Dead letters by reason. */
  readonly deadLetters: ReadonlyMap<string, number>;
  readonly deliveries: readonly DeliveryCount[];
  /** Deliveries that wait for a destination that is not in the settings. */
  readonly orphaned: number;
  readonly conflicts: number;
  /** Seconds since it was received; 0 where none waits. */
  readonly oldestUnscored: number;
  /** The same for each destination of the settings. */
  readonly oldestUndelivered: ReadonlyMap<string, number>;
  readonly fileBytes: number;
  readonly freeBytes: number;
  readonly keptFreeBytes: number;
}

export interface FigureOptions {
  readonly folders: InboxFolders;
  readonly index: IndexReader;
  /** Names of the destinations of the settings. */
  readonly destinations: readonly string[];
  readonly keptFreeBytes: number;
  /** Time in ms since 1970. @default Date.now */
  readonly now?: () => number;
}

export async function readFigures(options: FigureOptions): Promise<InboxFigures> {
  const { folders, index, destinations, keptFreeBytes, now = Date.now } = options;
  const age = (since: number | undefined) => (since === undefined ? 0 : Math.max(0, now() - since) / 1000);
  const deliveries = index.deliveryCounts();
  const undelivered = index.oldestUndelivered();
  const { freeBytes } = await readDiskSpace(folders.root);
  return {
    counts: index.counts(),
    deadLetters: deadLettersOf(index),
    deliveries,
    orphaned: orphanedOf(deliveries, destinations).reduce((sum, { count }) => sum + count, 0),
    conflicts: index.conflictCount(),
    oldestUnscored: age(index.oldestUnscored()),
    oldestUndelivered: new Map(destinations.map((name) => [name, age(undelivered.get(name))])),
    fileBytes: index.fileBytes(),
    freeBytes,
    keptFreeBytes,
  };
}

/** Of the deliveries those that wait for a destination that is not in the settings. */
export function orphanedOf(
  deliveries: readonly DeliveryCount[],
  destinations: readonly string[],
): readonly DeliveryCount[] {
  return deliveries.filter(
    ({ destination, state }) => state === 'waiting' && !destinations.includes(destination),
  );
}

function deadLettersOf(index: IndexReader): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { reason, hasResult, count } of index.deadLetterReasons()) {
    const name = deadLetterReason(reason, hasResult);
    counts.set(name, (counts.get(name) ?? 0) + count);
  }
  return counts;
}
