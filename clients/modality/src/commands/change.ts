/** `salad-modality retry`, `drop` and `export`. */
import { constants, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { helpText } from '../../../../src/cli/shared/help.js';
import { print, printJson } from '../../../../src/cli/shared/output.js';
import { SaladError } from '../../../../src/errors/index.js';
import { dropInstance, pathOf } from '../inbox/inbox.js';
import type { Instance } from '../inbox/instance.js';
import { findInstance, type Queue, type QueueFlags, withQueue, withQueueFlags } from './queue.js';

interface ChangeFlags extends QueueFlags {
  readonly deadLetters?: boolean;
}

export function registerChange(program: Command): void {
  instancesOf(withQueueFlags(program.command('retry')))
    .description('Tries dead letters again: the running gateway, or the next one, takes them up.')
    .addHelpText(
      'after',
      helpText([], [['salad-modality retry --dead-letters --config gateway.yaml', 'retry all of them']]),
    )
    .action((names: readonly string[], flags: ChangeFlags) => change(names, flags, 'retried', retry));
  instancesOf(withQueueFlags(program.command('drop')))
    .description(
      'Removes instances for good, with their files: dead letters, and instances with a result that no destination ' +
        'waits for. Others are refused.',
    )
    .addHelpText(
      'after',
      helpText([], [['salad-modality drop 17 --config gateway.yaml', 'remove dead letter 17']]),
    )
    .action((names: readonly string[], flags: ChangeFlags) => change(names, flags, 'dropped', drop));
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
    .option('--dead-letters', 'all dead letters')
    .option('--json', 'print one JSON line per instance');
}

async function change(
  names: readonly string[],
  flags: ChangeFlags,
  done: string,
  work: (queue: Queue, instance: Instance) => Promise<void> | void,
): Promise<void> {
  await withQueue(flags, async (queue) => {
    if (names.length > 0 === (flags.deadLetters === true)) {
      throw new SaladError('CONFIGURATION_INVALID', 'name instances, or give --dead-letters');
    }
    const instances = flags.deadLetters
      ? queue.index.list('dead-letter')
      : names.map((name) => findInstance(queue.index, name));
    for (const instance of instances) {
      await work(queue, instance);
      if (flags.json) printJson({ event: done, instance: instance.id });
      else print(`instance ${instance.id}: ${done}`);
    }
  });
}

function retry({ index }: Queue, { id }: Instance): void {
  if (!index.retry(id)) throw notDead(id);
}

async function drop({ folders, index }: Queue, instance: Instance): Promise<void> {
  const { id, state } = instance;
  const isWaiting = index.deliveries(id).some((delivery) => delivery.state === 'waiting');
  if (state === 'received' || state === 'streaming' || isWaiting) {
    throw new SaladError('CONFIGURATION_INVALID', `instance ${id} is ${state} and is not dropped`);
  }
  await dropInstance(folders, index, instance);
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
