/** What a running server says of itself. */
import { SaladClient } from '../../../clients/typescript/src/index.js';
import { ENGINE_NAMES, type EngineName } from '../../engines/engine.js';
import { failureOf } from '../shared/failure.js';
import { explainCall, type ServerAddress } from '../shared/server-call.js';
import { type TargetFlags, targetOptions } from '../shared/target.js';

export interface TargetReport {
  readonly target: string;
  readonly serving: boolean;
  /** The engine that scores; null where none does. */
  readonly engine: EngineName | null;
  /** `NOT_SERVING`: in its fallback order, but not the engine that scores. Engines it does not know are left out. */
  readonly engines: readonly { readonly name: EngineName; readonly state: string }[];
  /** `name@version`; null where the credentials do not reach so far. */
  readonly models: readonly string[] | null;
  readonly problems: readonly string[];
}

const PATIENCE = { timeoutMs: 10_000 };

export async function askTarget(
  flags: TargetFlags & { readonly target: string },
  environment: Readonly<Record<string, string | undefined>>,
): Promise<TargetReport> {
  const { target } = flags;
  const options = await targetOptions(flags, environment);
  const server = { target, tls: options.tls !== undefined };
  const client = new SaladClient(target, { ...options, retry: false });
  try {
    const state = await client.health('', PATIENCE);
    const asked = ENGINE_NAMES.map(async (name) => ({
      name,
      state: await client.health(`salad.engine.${name}`, PATIENCE),
    }));
    const engines = (await Promise.all(asked)).flatMap(({ name, state: its }) =>
      its === undefined ? [] : [{ name, state: its as string }],
    );
    const engine = engines.find((each) => each.state === 'SERVING')?.name ?? null;
    const listed = await modelsOf(client, server);
    const [first] = engines;
    const problems = [
      ...(state === 'SERVING' ? [] : [`${target} is ${state ?? 'not a salad-serve server'}`]),
      ...(engine !== null && first !== undefined && first.name !== engine
        ? [`${target} is degraded: ${engine} serves, ${first.name} is lost`]
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

/** @returns the models, or why they are not told */
async function modelsOf(client: SaladClient, server: ServerAddress): Promise<readonly string[] | string> {
  try {
    const models = await client.listModels(PATIENCE);
    return models.map(({ identity }) => `${identity?.name}@${identity?.version}`);
  } catch (error) {
    return messageOf(error, server);
  }
}

function messageOf(error: unknown, server: ServerAddress): string {
  return failureOf(explainCall(error, server)).message;
}
