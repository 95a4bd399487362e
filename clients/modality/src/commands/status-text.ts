/** What `status` shows of an inbox. */
import { table } from '../../../../src/cli/shared/output.js';
import type { CommitmentCount } from '../inbox/commitment-index.js';
import { readDiskSpace } from '../inbox/disk-space.js';
import type { DeliveryCount } from '../inbox/index-reader.js';
import { STATES, type State } from '../inbox/instance.js';
import { orphanedOf } from '../operations/figures.js';
import type { Queue } from './queue.js';

export interface Status {
  readonly counts: Readonly<Record<State, number>>;
  readonly deliveries: readonly DeliveryCount[];
  /** Of the deliveries those that wait for a destination that is not in the settings. */
  readonly orphaned: readonly DeliveryCount[];
  /** Of the deliveries those whose objects were sent and wait for the storage commitment of the archive. */
  readonly awaitingCommitment: readonly CommitmentCount[];
  readonly deadLetters: readonly { readonly id: number; readonly reason: string | null }[];
  /** Instances set aside. */
  readonly conflicts: number;
  readonly freeBytes: number;
}

export async function readStatus({ folders, index, destinations }: Queue): Promise<Status> {
  const deliveries = index.deliveryCounts();
  const { freeBytes } = await readDiskSpace(folders.root);
  return {
    counts: index.counts(),
    deliveries,
    orphaned: destinations === undefined ? [] : orphanedOf(deliveries, destinations),
    awaitingCommitment: index.commitmentCounts(),
    deadLetters: index.list('dead-letter').map(({ id, reason }) => ({ id, reason })),
    conflicts: index.conflictCount(),
    freeBytes,
  };
}

/** Several lines; the lists last. */
export function textOfStatus({
  counts,
  conflicts,
  freeBytes,
  deliveries,
  orphaned,
  awaitingCommitment,
  deadLetters,
}: Status): string {
  const sections = [
    [
      table(
        ['state', 'instances'],
        STATES.map((state) => [state, String(counts[state])]),
      ),
      `set aside (known UID, other content): ${conflicts}`,
      `free on the disk: ${mebibytes(freeBytes)} MiB`,
    ].join('\n'),
    table(
      ['destination', 'deliveries', 'count'],
      deliveries.map(({ destination, state, count }) => [destination, state, String(count)]),
    ),
    awaitingCommitment
      .map(({ destination, count }) => `${count} wait for the storage commitment of ${destination}`)
      .join('\n'),
    orphaned
      .map(
        ({ destination, count }) =>
          `${count} wait for ${destination}, which is not in the settings: ` +
          `add it, or drop --destination ${destination}`,
      )
      .join('\n'),
    table(
      ['dead letter', 'reason'],
      deadLetters.map(({ id, reason }) => [String(id), reason ?? '']),
    ),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

/** One line. */
export function lineOfStatus({ counts, deliveries, conflicts, freeBytes }: Status): string {
  const waiting = deliveries.filter(({ state }) => state === 'waiting');
  return [
    ...STATES.map((state) => `${state} ${counts[state]}`),
    ...waiting.map(({ destination, count }) => `waiting for ${destination} ${count}`),
    `set aside ${conflicts}`,
    `free ${mebibytes(freeBytes)} MiB`,
  ].join(', ');
}

function mebibytes(bytes: number): number {
  return Math.floor(bytes / 1024 / 1024);
}
