/** dcmjs-dimse, made silent: it and its parser would print AE titles, addresses and values of elements. */
import { createRequire } from 'node:module';
import dimse from 'dcmjs-dimse';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '../inbox/file-meta.js';

interface Logger {
  setLevel(level: 'silent', persist: boolean): void;
}

/** The copy of dcmjs that dcmjs-dimse uses; `import` would load another one. */
const { log } = createRequire(import.meta.url)('dcmjs') as {
  readonly log: Logger & { getLoggers(): Readonly<Record<string, Logger>> };
};
const loggers: readonly Logger[] = [dimse.log, log, ...Object.values(log.getLoggers())];
for (const logger of loggers) logger.setLevel('silent', false);
dimse.Implementation.setImplementationClassUid(IMPLEMENTATION_CLASS_UID);
dimse.Implementation.setImplementationVersion(IMPLEMENTATION_VERSION_NAME);

export { dimse };

/** Status of a response (PS3.4 table B.2-1, PS3.7 annex C). */
export const STATUS = {
  success: 0x0000,
  processingFailure: 0x0110,
  duplicateSopInstance: 0x0111,
  invalidArgumentValue: 0x0115,
  invalidObjectInstance: 0x0117,
  sopClassNotSupported: 0x0122,
  outOfResources: 0xa700,
} as const;

/** Results and sources of a refused association (PS3.8 section 9.3.4). */
export const REJECTION = {
  calledAeTitle: [1, 1, 7],
  callingAeTitle: [1, 1, 3],
  localLimit: [2, 3, 2],
} as const;
