/**
 * Suite `overload`, a part of suite `streaming` that takes minutes only: the server as shipped under twice the rate that
 * it can do, on this machine and on one of half its speed.
 */
import { note } from '../../src/cli/shared/output.js';
import { shippedModels } from '../../src/util/package-root.js';
import { measureOverload } from '../streaming/overload.js';
import { withBusyCores } from '../support/busy-cores.js';
import { type CorePlan, planCores, withCores } from '../support/cores.js';
import type { BenchOptions } from '../support/options.js';
import { startSalad } from '../support/server-process.js';

export async function benchOverload({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  return withCores(plan.client, () => overloadAtBothSpeeds(quick, plan));
}

export async function overloadAtBothSpeeds(quick: boolean, plan: CorePlan): Promise<Record<string, unknown>> {
  return {
    overload: await overloadAsShipped(quick, plan),
    overloadHalfSpeed: await withBusyCores(plan.server, () => overloadAsShipped(quick, plan)),
  };
}

async function overloadAsShipped(quick: boolean, plan: CorePlan): Promise<Record<string, unknown>> {
  note('bench: overload ...');
  const server = await startSalad({ models: shippedModels(), cores: plan.server });
  return measureOverload(server, { quick }).finally(() => server.stop());
}
