/** Memory of the gateway while it receives, scores, draws and delivers mammograms. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Name, SYNTAXES } from './files.js';
import { MemoryWatch, startGateway, startOrthanc, storescu } from './programs.js';

/** What is drawn of each mammogram, from its anomaly map. */
const BESIDES_REPORT = ['segmentation', 'secondaryCapture'];

export interface MemoryFigures extends ReturnType<MemoryWatch['end']> {
  readonly waitingWhenAllWereSent: number;
}

/** Peaks from the start until the archive has all reports, segmentations and pictures. */
export async function measureMemory(
  folder: string,
  settings: object,
  file: string,
  name: Name,
  queued: number,
): Promise<MemoryFigures> {
  const archive = await startOrthanc(join(folder, 'archive'));
  const destinations = [{ name: 'archive', url: archive.dicomWeb, besidesReport: BESIDES_REPORT }];
  const gateway = await startGateway(folder, { ...settings, destinations });
  const memory = new MemoryWatch(gateway.pid);
  try {
    await storescu(gateway.port, file, queued, SYNTAXES[name].proposal);
    const waiting = queued - gateway.scored();
    while (gateway.delivered() < queued) await sleep(50);
    const figures = { ...memory.end(), waitingWhenAllWereSent: waiting };
    const [objects, expected] = [await archive.instances(), queued * (1 + BESIDES_REPORT.length)];
    // Nothing is drawn of an image without findings: its peak would be of less work than is claimed.
    if (objects !== expected) throw new Error(`the archive has ${objects} instead of ${expected} objects`);
    return figures;
  } finally {
    memory.end();
    await gateway.stop();
    await archive.stop();
    await rm(folder, { recursive: true });
  }
}
