/** `salad-modality status` and `show`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { helpText } from '../../../../src/cli/shared/help.js';
import { print, printJson, table } from '../../../../src/cli/shared/output.js';
import type { Instance } from '../inbox/instance.js';
import { findInstance, type QueueFlags, withQueue, withQueueFlags } from './queue.js';
import { readStatus, textOfStatus } from './status-text.js';
import { watchStatus } from './watch-status.js';

const WATCH_SECONDS = 2;

export function registerStatus(program: Command): void {
  withQueueFlags(program.command('status'))
    .description('Shows how many instances are in which state, the dead letters, and the free space.')
    .addOption(
      new Option(
        '--watch [seconds]',
        `show it again every so many seconds (default ${WATCH_SECONDS})`,
      ).argParser(secondsOf),
    )
    .option('--json', 'print one JSON object; with --watch one per line')
    .addHelpText(
      'after',
      helpText(
        [
          '--watch redraws a terminal, and writes a line where the output is no terminal, until Ctrl-C (exit code 130).',
        ],
        [
          ['salad-modality status --config gateway.yaml', 'also while the gateway runs'],
          ['salad-modality status --config gateway.yaml --watch', 'redrawn every two seconds'],
        ],
      ),
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

interface StatusFlags extends QueueFlags {
  /** Seconds; true where the flag has no value. */
  readonly watch?: number | true;
}

async function status({ watch, ...flags }: StatusFlags): Promise<void> {
  await withQueue(flags, async (queue) => {
    if (watch !== undefined) {
      const seconds = watch === true ? WATCH_SECONDS : watch;
      return watchStatus(queue, seconds * 1000, flags.json === true);
    }
    const found = await readStatus(queue);
    if (flags.json) printJson(found);
    else print(textOfStatus(found));
  });
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (seconds >= 0.1 && seconds <= 3600) return seconds;
  throw new InvalidArgumentError('must be a number of seconds from 0.1 to 3600.');
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
