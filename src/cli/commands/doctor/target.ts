/** `salad doctor --target`: asks a running server for its health, engines and models. */
import { SaladClient } from '../../../../clients/typescript/src/index.js';
import { ENGINE_NAMES, type EngineName } from '../../../engines/engine.js';
import { failureOf } from '../../shared/failure.js';
import { explainCall, type ServerAddress } from '../../shared/server-call.js';
import { type TargetFlags, targetOptions } from '../../shared/target.js';

export interface TargetReport {
  readonly target: string;
  readonly serving: boolean;
  /** The engine that scores; null if none does. */
  readonly engine: EngineName | null;
  /** `NOT_SERVING`: in the fallback order, but not the engine that scores. Engines unknown to the server are omitted. */
  readonly engines: readonly { readonly name: EngineName; readonly state: string }[];
  /** `name@version`; null if the server did not list them, for example without sufficient credentials. */
  readonly models: readonly string[] | null;
  readonly problems: readonly string[];
}

const CALL_OPTIONS = { timeoutMs: 10_000 };

export async function askTarget(
  flags: TargetFlags & { readonly target: string },
  environment: Readonly<Record<string, string | undefined>>,
): Promise<TargetReport> {
  const { target } = flags;
  const options = await targetOptions(flags, environment);
  const server = { target, tls: options.tls !== undefined };
  const client = new SaladClient(target, { ...options, retry: false });
  try {
    const state = await client.health('', CALL_OPTIONS);
    const engineStates = await Promise.all(
      ENGINE_NAMES.map(async (name) => ({
        name,
        state: await client.health(`salad.engine.${name}`, CALL_OPTIONS),
      })),
    );
    const engines = engineStates.flatMap(({ name, state: engineState }) =>
      engineState === undefined ? [] : [{ name, state: engineState as string }],
    );
    const engine = engines.find((each) => each.state === 'SERVING')?.name ?? null;
    const listed = await listModels(client, server);
    const [preferred] = engines;
    const problems = [
      ...(state === 'SERVING' ? [] : [`${target} is ${state ?? 'not a salad-serve server'}`]),
      ...(engine !== null && preferred !== undefined && preferred.name !== engine
        ? [`${target} is degraded: ${engine} serves instead of ${preferred.name}, which failed`]
        : []),
      ...(typeof listed === 'string' ? [`models: ${listed}`] : []),
    ];
    const models = typeof listed === 'string' ? null : listed;
    return { target, serving: state === 'SERVING', engine, engines, models, problems };
  } catch (error) {
    const problems = [messageOf(error, server)];
    return { target, serving: false, engine: null, engines: [], models: null, problems };
  } finally {
    client.close();
  }
}

/** @returns the models, or the reason why the server did not list them */
async function listModels(client: SaladClient, server: ServerAddress): Promise<readonly string[] | string> {
  try {
    const models = await client.listModels(CALL_OPTIONS);
    return models.map(({ identity }) => `${identity?.name}@${identity?.version}`);
  } catch (error) {
    return messageOf(error, server);
  }
}

function messageOf(error: unknown, server: ServerAddress): string {
  return failureOf(explainCall(error, server)).message;
}
