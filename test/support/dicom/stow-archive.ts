/** A DICOMweb archive by HTTP that answers every object as a test wants, and the answers that real archives give. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { parseFile } from '../../../src/dicom/data-set.js';

export interface StowAnswerSent {
  readonly status: number;
  readonly body?: string;
}

export interface StowedObject {
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
}

export class StowArchive {
  /** All objects that were sent to it, in order. */
  readonly received: StowedObject[] = [];

  private constructor(private readonly server: Server) {}

  static async listen(answer: (object: StowedObject) => StowAnswerSent): Promise<StowArchive> {
    const server = createServer((request, response) => {
      void buffer(request).then((body) => {
        const object = objectIn(body);
        archive.received.push(object);
        const { status, body: text = '' } = answer(object);
        response.writeHead(status).end(text);
      });
    });
    const archive = new StowArchive(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return archive;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** The only part of a multipart body. */
function objectIn(body: Buffer): StowedObject {
  const file = body.subarray(body.indexOf('\r\n\r\n') + 4, body.lastIndexOf('\r\n--'));
  const { root } = parseFile(file, 0);
  return { sopClassUid: root.text('x00080016')!, sopInstanceUid: root.text('x00080018')! };
}

const uid = (value: string) => ({ vr: 'UI', Value: [value] });
const item = ({ sopClassUid, sopInstanceUid }: StowedObject) => ({
  '00081150': uid(sopClassUid),
  '00081155': uid(sopInstanceUid),
});

/** That it was stored, in the DICOM JSON model. @param warning Warning Reason, such as of a coerced element */
export function storedAnswer(object: StowedObject, warning?: number): StowAnswerSent {
  const stored = {
    ...item(object),
    ...(warning === undefined ? {} : { '00081196': { vr: 'US', Value: [warning] } }),
  };
  return { status: 200, body: JSON.stringify({ '00081199': { vr: 'SQ', Value: [stored] } }) };
}

/** That it failed. @param reason Failure Reason; none where it is left out */
export function failedAnswer(status: number, reason?: number, object?: StowedObject): StowAnswerSent {
  const failed = {
    ...(object === undefined ? {} : item(object)),
    ...(reason === undefined ? {} : { '00081197': { vr: 'US', Value: [reason] } }),
  };
  return { status, body: JSON.stringify({ '00081198': { vr: 'SQ', Value: [failed] } }) };
}
