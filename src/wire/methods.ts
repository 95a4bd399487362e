/** Which methods score. */

/** All methods of this service score. */
const SCORING_SERVICE = '/salad.v1.AnomalyScoring/';
const INFERENCE_SERVICE = '/inference.GRPCInferenceService/';
const INFER_METHODS: ReadonlySet<string> = new Set(['ModelInfer', 'ModelStreamInfer']);

/**
 * Scoring calls count as acquisitions in limits and quotas, and end with a drain in their own time.
 * @param path such as `/salad.v1.AnomalyScoring/ScoreImage`
 */
export function isScoringMethod(path: string): boolean {
  if (path.startsWith(SCORING_SERVICE)) return true;
  return path.startsWith(INFERENCE_SERVICE) && INFER_METHODS.has(path.slice(INFERENCE_SERVICE.length));
}
