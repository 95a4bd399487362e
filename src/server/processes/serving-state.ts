/** What several processes can do together. */
import type { ServingState } from '../health.js';

/**
 * Serving where one process serves: it takes the connections. An engine scores where it does in one process. A model
 * serves where every process that serves has it, because a caller does not choose the process.
 */
export function stateOfAll(states: readonly ServingState[]): ServingState {
  const serving = states.filter(({ isServing }) => isServing);
  const [first] = serving;
  return {
    isServing: first !== undefined,
    fallbackOrder: [...new Set(states.flatMap(({ fallbackOrder }) => fallbackOrder))],
    engines: [...new Set(states.flatMap(({ engines }) => engines))],
    models: (first?.models ?? []).filter((model) => serving.every(({ models }) => models.includes(model))),
  };
}
