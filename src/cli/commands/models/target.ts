/** `salad models load|unload|list --target`: the models of a running server. */

import type { Command } from 'commander';
import { type ModelVersion, SaladClient } from '../../../../clients/typescript/src/index.js';
import { SaladError } from '../../../errors/index.js';
import type { ProgramContext } from '../../shared/context.js';
import { helpText } from '../../shared/help.js';
import { print, printJson, table } from '../../shared/output.js';
import { explainCall } from '../../shared/server-call.js';
import { type TargetFlags, targetOptions, withTargetFlags } from '../../shared/target.js';

type ModelsTargetFlags = TargetFlags & { readonly json?: boolean };
type Environment = Readonly<Record<string, string | undefined>>;

/** Reading, checking and warming up a large bundle takes long. */
const LOAD_TIMEOUT_MS = 600_000;
const CALL_TIMEOUT_MS = 10_000;

/** Adds `load` and `unload`. */
export function registerTargetCommands(models: Command, { environment }: ProgramContext): void {
  const onServer = 'server whose models change (required); it needs the setting "admin"';
  const load = models
    .command('load')
    .summary('load a model into a running server')
    .description(
      "Loads a model from the models folders of a running server; without a version the highest in the folders. The command ends when it serves, and fails with the reason where it cannot be served. The server's other models serve on.",
    )
    .argument('<model>', 'NAME or NAME@VERSION')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText([], [['salad models load chest-adult --target localhost:50051', 'load the highest version']]),
    );
  withTargetFlags(load, onServer).action((model: string, flags: ModelsTargetFlags) =>
    loadOnTarget(model, flags, environment),
  );
  const unload = models
    .command('unload')
    .summary('unload a model from a running server')
    .description(
      'Unloads a model from a running server; without a version all its versions. New acquisitions do not get it; those that have begun end on it.',
    )
    .argument('<model>', 'NAME or NAME@VERSION')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText([], [['salad models unload chest-adult@1 --target localhost:50051', 'unload one version']]),
    );
  withTargetFlags(unload, onServer).action((model: string, flags: ModelsTargetFlags) =>
    unloadOnTarget(model, flags, environment),
  );
}

/** @param model NAME or NAME@VERSION */
async function loadOnTarget(model: string, flags: ModelsTargetFlags, environment: Environment) {
  const { name, version } = parseModel(model);
  const identity = await onTarget(flags, environment, async (client) => {
    return (await client.loadModel(name, version, { timeoutMs: LOAD_TIMEOUT_MS })).identity;
  });
  const loaded = `${identity?.name}@${identity?.version}`;
  if (flags.json) printJson({ model: loaded, sha256: identity?.bundleSha256, target: flags.target });
  else print(`${loaded} serves on ${flags.target}`);
}

/** @param model NAME (every version) or NAME@VERSION */
async function unloadOnTarget(model: string, flags: ModelsTargetFlags, environment: Environment) {
  const { name, version } = parseModel(model);
  const models = await onTarget(flags, environment, (client) =>
    client.unloadModel(name, version, { timeoutMs: CALL_TIMEOUT_MS }),
  );
  if (flags.json) printJson({ models, target: flags.target });
  else
    print(
      `${models.join(', ')}: no new acquisitions on ${flags.target}; unloaded after the last that has begun`,
    );
}

export async function listOnTarget(flags: ModelsTargetFlags, environment: Environment): Promise<void> {
  const versions = await onTarget(flags, environment, (client) =>
    client.modelVersions({ timeoutMs: CALL_TIMEOUT_MS }),
  );
  if (flags.json) printJson({ models: versions.map(rowOf), target: flags.target });
  else {
    const rows = versions.map(rowOf);
    const cells = rows.map((row) => [
      row.model,
      row.state,
      row.isDefault ? 'yes' : 'no',
      String(row.acquisitions),
      row.reason ?? '',
    ]);
    print(table(['model', 'state', 'default', 'acquisitions', 'reason'], cells));
  }
}

function rowOf({ name, version, bundleSha256, state, isDefault, acquisitions, reason }: ModelVersion) {
  const model = `${name}@${version}`;
  // As in the list of a folder: `usable` and the reason.
  const usable = state === 'serving';
  return {
    ...{ model, usable, state, isDefault, acquisitions, sha256: bundleSha256 },
    ...(reason === '' ? {} : { reason }),
  };
}

/** @throws SaladError CONFIGURATION_INVALID */
function parseModel(model: string): { readonly name: string; readonly version: number | undefined } {
  const [, name, version] = /^([a-z0-9-]+)(?:@([1-9]\d{0,9}))?$/.exec(model) ?? [];
  if (name === undefined) {
    throw new SaladError('CONFIGURATION_INVALID', `"${model}" is not NAME or NAME@VERSION`);
  }
  return { name, version: version === undefined ? undefined : Number(version) };
}

async function onTarget<T>(
  flags: ModelsTargetFlags,
  environment: Environment,
  call: (client: SaladClient) => Promise<T>,
): Promise<T> {
  const { target } = flags;
  if (target === undefined) {
    throw new SaladError('CONFIGURATION_INVALID', '--target HOST:PORT is missing: the server to ask');
  }
  const options = await targetOptions({ ...flags, target }, environment);
  const client = new SaladClient(target, { ...options, retry: false });
  try {
    return await call(client);
  } catch (error) {
    throw explainCall(error, { target, tls: options.tls !== undefined });
  } finally {
    client.close();
  }
}
