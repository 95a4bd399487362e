/** The DICOM port of the gateway with an inbox of its own, in this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPort, type DicomPortOptions } from '../../../clients/modality/src/dicom-port/port.js';
import { Inbox, type InboxOptions } from '../../../clients/modality/src/inbox/inbox.js';

export interface GatewayPort {
  readonly inbox: Inbox;
  readonly port: DicomPort;
  /** What the port reported, in order; `refused`, `accepted`, `aborted`, `stored` and `failed`, each with its details. */
  readonly events: string[];
  close(): Promise<void>;
}

export interface GatewayPortOptions {
  readonly port?: Partial<DicomPortOptions>;
  readonly inbox?: Partial<InboxOptions>;
}

export async function startGatewayPort(options: GatewayPortOptions = {}): Promise<GatewayPort> {
  const root = mkdtempSync(join(tmpdir(), 'salad-gateway-'));
  const inbox = await Inbox.open(join(root, 'inbox'), {
    keepFreeBytes: 0,
    instanceBytesMax: 2 ** 30,
    ...options.inbox,
  });
  const events: string[] = [];
  const port = await DicomPort.listen({
    inbox,
    host: '127.0.0.1',
    port: 0,
    aeTitle: 'SALAD',
    callers: [{ aeTitle: 'DX1', priority: 'routine' }],
    associationsMax: 4,
    pduBytesMax: 128 * 1024,
    associationMs: 10_000,
    idleMs: 600_000,
    dataMs: 10_000,
    events: {
      refused: (reason) => events.push(`refused ${reason}`),
      accepted: ({ aeTitle }) => events.push(`accepted ${aeTitle}`),
      aborted: (reason) => events.push(`aborted ${reason}`),
      stored: ({ outcome }) => events.push(outcome),
      failed: ({ reason }) => events.push(`failed ${reason}`),
    },
    ...options.port,
  });
  return {
    inbox,
    port,
    events,
    async close() {
      await port.close(100);
      inbox.close();
      rmSync(root, { recursive: true });
    },
  };
}
