/** A DNS server that answers every question for an IPv4 address of one name, as that of a headless service. */
import { createSocket } from 'node:dgram';

export interface DnsServer {
  /** `HOST:PORT`, as the authority of `dns://AUTHORITY/NAME:PORT`. */
  readonly authority: string;
  /** Questions for the name until now. */
  readonly asked: number;
  close(): Promise<void>;
}

const TYPE_A = 1;
const NAME_ERROR = 3;
const HEADER_BYTES = 12;

/**
 * Listens on a free port of loopback.
 * @param name without a dot at its end
 * @param addresses called for every question; IPv4
 */
export async function startDnsServer(name: string, addresses: () => readonly string[]): Promise<DnsServer> {
  const socket = createSocket('udp4');
  let asked = 0;
  socket.on('message', (query, peer) => {
    const question = readQuestion(query);
    const isKnown = question.name.toLowerCase() === name.toLowerCase();
    if (isKnown) asked += 1;
    const answers = isKnown && question.type === TYPE_A ? addresses() : [];
    socket.send(answerTo(query, question.end, isKnown, answers), peer.port, peer.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    authority: `127.0.0.1:${socket.address().port}`,
    get asked() {
      return asked;
    },
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** The first question (RFC 1035, 4.1.2); `end` is the offset after it. */
function readQuestion(query: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function answerTo(query: Buffer, end: number, isKnown: boolean, addresses: readonly string[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 2);
  // An authoritative answer.
  header.writeUInt16BE(0x8400 | (isKnown ? 0 : NAME_ERROR), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(addresses.length, 6);
  const records = addresses.map((address) => {
    const record = Buffer.alloc(16);
    // A pointer to the name of the question.
    record.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
    record.writeUInt16BE(TYPE_A, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(1, 6);
    record.writeUInt16BE(4, 10);
    for (const [index, part] of address.split('.').entries()) record.writeUInt8(Number(part), 12 + index);
    return record;
  });
  return Buffer.concat([header, query.subarray(HEADER_BYTES, end), ...records]);
}
