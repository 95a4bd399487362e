/** What a running server says of itself. */
import { SaladClient } from '../../../clients/typescript/src/index.js';
import { ENGINE_NAMES, type EngineName } from '../../engines/engine.js';
import { type TargetFlags, targetOptions } from '../shared/target.js';

export interface TargetReport {
  readonly target: string;
  readonly serving: boolean;
  /** The engine that scores; null where none does. */
  readonly engine: EngineName | null;
  /** `NOT_SERVING`: on its ladder, but not the one that scores. Engines it does not know are left out. */
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
  const client = new SaladClient(target, { ...(await targetOptions(flags, environment)), retry: false });
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
    const listed = await modelsOf(client);
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
    const problems = [`${target}: ${error instanceof Error ? error.message : String(error)}`];
    return { target, serving: false, engine: null, engines: [], models: null, problems };
  } finally {
    client.close();
  }
}

/** @returns the models, or why they are not told */
async function modelsOf(client: SaladClient): Promise<readonly string[] | string> {
  try {
    const models = await client.listModels(PATIENCE);
    return models.map(({ identity }) => `${identity?.name}@${identity?.version}`);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
