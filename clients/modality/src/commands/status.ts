/** `salad-modality status` and `show`. */
import type { Command } from 'commander';
import { helpText } from '../../../../src/cli/shared/help.js';
import { print, printJson, table } from '../../../../src/cli/shared/output.js';
import { readDiskSpace } from '../inbox/disk-space.js';
import type { Instance } from '../inbox/instance.js';
import { STATES } from '../inbox/instance.js';
import { findInstance, type QueueFlags, withQueue, withQueueFlags } from './queue.js';

export function registerStatus(program: Command): void {
  withQueueFlags(program.command('status'))
    .description('Shows how many instances are in which state, the dead letters, and the free space.')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText([], [['salad-modality status --config gateway.yaml', 'also while the gateway runs']]),
    )
    .action(status);
  withQueueFlags(program.command('show'))
    .description('Shows one instance: its state, the reason, and its deliveries.')
    .argument('<instance>', 'number of the instance, or its SOP Instance UID')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText([], [['salad-modality show 17 --config gateway.yaml', 'show instance 17']]),
    )
    .action(show);
}

async function status(flags: QueueFlags): Promise<void> {
  await withQueue(flags, async ({ folders, index }) => {
    const counts = index.counts();
    const dead = index.list('dead-letter').map(({ id, reason }) => ({ id, reason }));
    const conflicts = index.conflicts().length;
    const deliveries = index.deliveryCounts();
    const { freeBytes } = await readDiskSpace(folders.root);
    if (flags.json) {
      printJson({ counts, deliveries, deadLetters: dead, conflicts, freeBytes });
      return;
    }
    print(
      table(
        ['state', 'instances'],
        STATES.map((state) => [state, String(counts[state])]),
      ),
    );
    print(`set aside (known UID, other content): ${conflicts}`);
    print(`free on the disk: ${Math.floor(freeBytes / 1024 / 1024)} MiB`);
    if (deliveries.length > 0) {
      print();
      print(
        table(
          ['destination', 'deliveries', 'count'],
          deliveries.map(({ destination, state, count }) => [destination, state, String(count)]),
        ),
      );
    }
    if (dead.length > 0) {
      print();
      print(
        table(
          ['dead letter', 'reason'],
          dead.map(({ id, reason }) => [String(id), reason ?? '']),
        ),
      );
    }
  });
}

async function show(name: string, flags: QueueFlags): Promise<void> {
  await withQueue(flags, ({ index }) => {
    const instance = findInstance(index, name);
    const objects = index.objects(instance.id);
    const deliveries = index.deliveries(instance.id).map((delivery) => ({
      ...delivery,
      objects: objects
        .filter(({ destination }) => destination === delivery.destination)
        .map(({ kind, state, reason }) => ({ kind, state, reason })),
    }));
    if (flags.json) {
      printJson({ ...describe(instance), deliveries });
      return;
    }
    const lines = Object.entries(describe(instance)).map(([key, value]) => [key, textOf(value)]);
    print(table(['instance', String(instance.id)], lines));
    if (deliveries.length === 0) return;
    print();
    print(
      table(
        ['destination', 'state', 'attempts', 'reason'],
        deliveries.map((each) => [each.destination, each.state, String(each.attempts), each.reason ?? '']),
      ),
    );
    print();
    print(
      table(
        ['destination', 'object', 'state', 'reason'],
        objects.map((each) => [each.destination, each.kind, each.state, each.reason ?? '']),
      ),
    );
  });
}

function textOf(value: unknown): string {
  if (value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function describe(instance: Instance) {
  const { nextAttemptMs, receivedMs, changedMs, result, ...facts } = instance;
  const time = (ms: number) => (ms === 0 ? null : new Date(ms).toISOString());
  return {
    ...facts,
    nextAttempt: time(nextAttemptMs),
    received: time(receivedMs),
    changed: time(changedMs),
    result: result === null ? null : (JSON.parse(result) as unknown),
  };
}
