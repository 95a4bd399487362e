/** What the commands about the queue share: opening the inbox beside a running gateway, naming instances. */
import { access } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { SaladError } from '../../../../src/errors/index.js';
import { readSettings } from '../gateway/settings.js';
import { foldersOf, type InboxFolders } from '../inbox/folders.js';
import type { Instance } from '../inbox/instance.js';
import { InstanceIndex } from '../inbox/instance-index.js';

export interface QueueFlags {
  readonly config?: string;
  readonly inbox?: string;
  readonly json?: boolean;
}

export interface Queue {
  readonly folders: InboxFolders;
  readonly index: InstanceIndex;
  /** Names of the destinations; undefined where no settings are given. */
  readonly destinations: readonly string[] | undefined;
}

export function withQueueFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--config <file>', 'settings of the gateway, which name the inbox').conflicts('inbox'),
    )
    .option('--inbox <dir>', 'folder of the inbox, instead of --config');
}

/** Opens the index of an inbox, whether or not a gateway runs on it. @throws SaladError CONFIGURATION_INVALID */
export async function withQueue<T>(flags: QueueFlags, work: (queue: Queue) => Promise<T> | T): Promise<T> {
  const settings = flags.config === undefined ? undefined : await readSettings(flags.config);
  const root = flags.inbox ?? settings?.inbox;
  if (root === undefined) throw new SaladError('CONFIGURATION_INVALID', 'give --config or --inbox');
  const folders = foldersOf(root);
  await access(folders.index).catch(() => {
    throw new SaladError('CONFIGURATION_INVALID', `${root}: there is no inbox`);
  });
  const index = new InstanceIndex(folders.index, Date.now);
  try {
    return await work({ folders, index, destinations: settings?.destinations.map(({ name }) => name) });
  } finally {
    index.close();
  }
}

/** @param name number of the instance, or its SOP Instance UID @throws SaladError CONFIGURATION_INVALID */
export function findInstance(index: InstanceIndex, name: string): Instance {
  const instance = /^\d{1,15}$/.test(name) ? index.byId(Number(name)) : index.byUid(name);
  if (instance === undefined) throw new SaladError('CONFIGURATION_INVALID', `${name}: no such instance`);
  return instance;
}
