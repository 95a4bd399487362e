/** Who is calling, and what they may do. */

/**
 * `score`: the scoring calls and the models they may name; `stat`: scoring before all others, beside `score`; `admin`:
 * calls that change the server, and no others.
 */
export const SCOPES = ['score', 'stat', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

export interface Identity {
  /** Stable, and of no other identity: limits count by it. Such as `key detector-7` or `subject 4711`. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** What a call needs: nothing at all, an identity, or one with a scope. */
export type Requirement = 'none' | 'identity' | Scope;

/**
 * Health stays open: kubelets and load balancers have no credentials, and it tells nothing but whether this server
 * serves. What is not known here changes the server until somebody says otherwise.
 * @param path such as `/salad.v1.AnomalyScoring/ScoreImage`
 */
export function requirementOf(path: string): Requirement {
  const [, service = '', method = ''] = path.split('/');
  if (service === 'grpc.health.v1.Health') return 'none';
  if (service.startsWith('grpc.reflection.')) return 'identity';
  if (service === 'salad.v1.AnomalyScoring') return 'score';
  if (service === 'salad.v1.ModelRegistry' && (method === 'List' || method === 'Get')) return 'score';
  return 'admin';
}
