/** `salad-modality retry`, `drop` and `export`. */
import { constants, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { helpText } from '../../../../src/cli/shared/help.js';
import { print, printJson } from '../../../../src/cli/shared/output.js';
import { SaladError } from '../../../../src/errors/index.js';
import { dropInstance, pathOf } from '../inbox/inbox.js';
import type { Instance } from '../inbox/instance.js';
import { findInstance, type Queue, type QueueFlags, withQueue, withQueueFlags } from './queue.js';

interface ChangeFlags extends QueueFlags {
  readonly deadLetters?: boolean;
  readonly destination?: string;
}

export function registerChange(program: Command): void {
  instancesOf(withQueueFlags(program.command('retry')))
    .description('Tries dead letters again: the running gateway, or the next one, takes them up.')
    .addHelpText(
      'after',
      helpText([], [['salad-modality retry --dead-letters --config gateway.yaml', 'retry all of them']]),
    )
    .action((names: readonly string[], flags: ChangeFlags) => change(names, flags, 'retried', retry, isDead));
  instancesOf(withQueueFlags(program.command('drop')))
    .description(
      'Removes instances for good, with their files: dead letters, and instances with a result that no destination ' +
        'waits for. Others are refused. With --destination no instance is removed: its results are not sent there any more.',
    )
    .addHelpText(
      'after',
      helpText(
        [],
        [
          ['salad-modality drop 17 --config gateway.yaml', 'remove dead letter 17'],
          [
            'salad-modality drop --destination old --config gateway.yaml',
            'forget what waits for a destination that is not in the settings',
          ],
        ],
      ),
    )
    .action((names: readonly string[], flags: ChangeFlags) =>
      change(names, flags, 'dropped', flags.destination === undefined ? drop : dropDelivery),
    );
  instancesOf(withQueueFlags(program.command('export')))
    .description(
      'Copies instances as DICOM files into a folder, with the result as JSON where there is one. The files hold data ' +
        'of patients.',
    )
    .requiredOption('--out <dir>', 'folder, which is created')
    .addHelpText(
      'after',
      helpText([], [['salad-modality export 17 --out out --config gateway.yaml', 'write out/17.dcm']]),
    )
    .action((names: readonly string[], flags: ChangeFlags & { readonly out: string }) =>
      change(names, flags, 'exported', (queue, instance) => exportTo(flags.out, queue, instance)),
    );
}

function instancesOf(command: Command): Command {
  return command
    .argument('[instances...]', 'numbers or SOP Instance UIDs')
    .addOption(new Option('--dead-letters', 'all dead letters').conflicts('destination'))
    .option('--destination <name>', 'all whose result has not gone to this destination')
    .option('--json', 'print one JSON line per instance');
}

type Work = (queue: Queue, instance: Instance, flags: ChangeFlags) => Promise<void> | void;

async function change(
  names: readonly string[],
  flags: ChangeFlags,
  done: string,
  work: Work,
  isMeant: (instance: Instance) => boolean = () => true,
): Promise<void> {
  await withQueue(flags, async (queue) => {
    const { destination } = flags;
    for (const instance of instancesFor(queue, names, flags, isMeant)) {
      await work(queue, instance, flags);
      if (flags.json) printJson({ event: done, instance: instance.id, destination });
      else print(`instance ${instance.id}: ${done}${destination === undefined ? '' : ` (${destination})`}`);
    }
  });
}

function instancesFor(
  { index }: Queue,
  names: readonly string[],
  { deadLetters, destination }: ChangeFlags,
  isMeant: (instance: Instance) => boolean,
): readonly Instance[] {
  if ([names.length > 0, deadLetters === true, destination !== undefined].filter(Boolean).length !== 1) {
    throw new SaladError('CONFIGURATION_INVALID', 'name instances, or give --dead-letters or --destination');
  }
  if (deadLetters) return index.list('dead-letter');
  if (destination === undefined) return names.map((name) => findInstance(index, name));
  const found = index.undelivered(destination).filter(isMeant);
  if (found.length > 0) return found;
  throw new SaladError('CONFIGURATION_INVALID', `there are no such instances of ${destination}`);
}

function isDead({ state }: Instance): boolean {
  return state === 'dead-letter';
}

/** An instance that waits for a destination that does not exist would wait for ever. */
function retry({ index, destinations }: Queue, { id }: Instance): void {
  const gone = index
    .deliveries(id)
    .find((each) => each.state === 'dead-letter' && destinations?.includes(each.destination) === false);
  if (gone !== undefined) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `instance ${id} would wait for ${gone.destination}, which is not in the settings: ` +
        `add it, or drop --destination ${gone.destination}`,
    );
  }
  if (!index.retry(id)) throw notDead(id);
}

async function drop({ folders, index, destinations }: Queue, instance: Instance): Promise<void> {
  const { id, state } = instance;
  const isWaiting = index
    .deliveries(id)
    .some((each) => each.state === 'waiting' && (destinations?.includes(each.destination) ?? true));
  if (state === 'received' || state === 'streaming' || isWaiting) {
    throw new SaladError('CONFIGURATION_INVALID', `instance ${id} is ${state} and is not dropped`);
  }
  await dropInstance(folders, index, instance);
}

function dropDelivery(
  { index, destinations }: Queue,
  { id }: Instance,
  { destination = '' }: ChangeFlags,
): void {
  if (destinations?.includes(destination)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `${destination} is in the settings: remove it there and restart the gateway before its deliveries are dropped`,
    );
  }
  index.dropDelivery(id, destination);
}

async function exportTo(out: string, { folders }: Queue, instance: Instance): Promise<void> {
  await mkdir(out, { recursive: true, mode: 0o700 });
  if (instance.bytes === 0) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `the file of instance ${instance.id} was removed after its delivery; show prints the result`,
    );
  }
  await copyFile(pathOf(folders, instance), join(out, `${instance.id}.dcm`), constants.COPYFILE_EXCL);
  if (instance.result !== null) {
    await writeFile(join(out, `${instance.id}.json`), `${instance.result}\n`, { flag: 'wx', mode: 0o600 });
  }
}

function notDead(id: number): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `instance ${id} is not a dead letter`);
}
