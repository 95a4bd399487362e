/** Identities of callers, and the scope that each method requires. */

/** `score`: scoring calls, and listing the models. `admin`: calls that change the server, but no scoring calls. */
export const SCOPES = ['score', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

export interface Identity {
  /** Stable and unique, because limits count by it; such as `key detector-7` or `subject 4711`. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** What a call requires: nothing, any identity, or an identity with a scope. */
export type Requirement = 'none' | 'identity' | Scope;

/** Of the Open Inference Protocol: what a health check says, too. */
const OPEN_METHODS: ReadonlySet<string> = new Set(['ServerLive', 'ServerReady']);
const INFERENCE_METHODS: ReadonlySet<string> = new Set([
  ...['ModelReady', 'ServerMetadata', 'ModelMetadata', 'ModelInfer', 'ModelStreamInfer'],
  ...['ModelConfig', 'ModelStatistics', 'RepositoryIndex'],
]);

/**
 * Health requires nothing: kubelets and load balancers have no credentials, and it reveals only whether this server
 * serves. A method that is not listed here requires `admin`, so that a new method is not open by mistake.
 * @param path such as `/salad.v1.AnomalyScoring/ScoreImage`
 */
export function requirementOf(path: string): Requirement {
  const [, service = '', method = ''] = path.split('/');
  if (service === 'grpc.health.v1.Health') return 'none';
  if (service === 'inference.GRPCInferenceService') {
    if (OPEN_METHODS.has(method)) return 'none';
    return INFERENCE_METHODS.has(method) ? 'score' : 'admin';
  }
  if (service.startsWith('grpc.reflection.')) return 'identity';
  if (service === 'salad.v1.AnomalyScoring') return 'score';
  if (service === 'salad.v1.ModelRegistry' && (method === 'List' || method === 'Get')) return 'score';
  return 'admin';
}
