import type { ServedModel } from '../acquisition/index.js';
import type { Precision } from '../engines/engine.js';
import type { EnginePool } from '../pool/engine-pool.js';
import type { Logger } from '../telemetry/logger.js';

/** Logs how a model is served, with a warning where it is not in the requested precision. */
export function logModel(
  { key, sha256 }: ServedModel,
  pool: EnginePool,
  requested: Precision,
  logger: Logger,
  details: Readonly<Record<string, unknown>> = {},
): void {
  const { engine, device } = pool;
  const status = pool.modelStatus(key);
  logger.info({ model: key, bundleSha256: sha256, engine, device, ...status, ...details }, 'model ready');
  if (status === undefined || status.precision === requested) return;
  const { precision } = status;
  logger.warn(
    { model: key, engine, asked: requested, precision },
    'the model does not run in the requested precision',
  );
}
