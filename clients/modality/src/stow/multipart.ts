/** Reads `multipart/related` (RFC 2387, RFC 2046 section 5.1) as a stream: no part is kept in memory. */
import { SaladError } from '../../../../src/errors/index.js';

export type MultipartEvent =
  /** Names in lower case. */
  | { readonly type: 'part'; readonly headers: ReadonlyMap<string, string> }
  | { readonly type: 'data'; readonly bytes: Uint8Array }
  | { readonly type: 'end' };

const HEADER_BYTES_MAX = 8 * 1024;
/** RFC 2046 section 5.1.1. */
const BOUNDARY = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;

/**
 * The boundary and the type of the parts.
 * @returns undefined where it is not `multipart/related` with a valid boundary
 */
export function multipartOf(
  contentType: string | undefined,
): { readonly boundary: string; readonly type: string } | undefined {
  const [kind, ...rest] = (contentType ?? '').split(';');
  if (kind?.trim().toLowerCase() !== 'multipart/related') return undefined;
  const parameters = new Map(
    rest.map((parameter) => {
      const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=\s*"?(.*?)"?\s*$/.exec(parameter) ?? [];
      return [name.toLowerCase(), value] as const;
    }),
  );
  const boundary = parameters.get('boundary') ?? '';
  return BOUNDARY.test(boundary) ? { boundary, type: parameters.get('type') ?? '' } : undefined;
}

/**
 * Yields for each part `part`, its `data` and `end`.
 * @throws SaladError MESSAGE_INVALID where the body ends within a part or is malformed
 */
export async function* readMultipart(
  body: AsyncIterable<Uint8Array>,
  boundary: string,
): AsyncGenerator<MultipartEvent, void, undefined> {
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  // The first delimiter may be at the very beginning.
  let buffer: Buffer = Buffer.from('\r\n', 'latin1');
  let state: 'preamble' | 'delimiter' | 'headers' | 'data' = 'preamble';
  for await (const chunk of body) {
    buffer = Buffer.concat([buffer, chunk]);
    for (;;) {
      if (state === 'preamble' || state === 'data') {
        const at = buffer.indexOf(delimiter);
        // What may be the begin of a delimiter stays.
        const end = at >= 0 ? at : Math.max(0, buffer.length - delimiter.length + 1);
        if (state === 'data' && end > 0) yield { type: 'data', bytes: buffer.subarray(0, end) };
        buffer = buffer.subarray(end);
        if (at < 0) break;
        if (state === 'data') yield { type: 'end' };
        buffer = buffer.subarray(delimiter.length);
        state = 'delimiter';
      } else if (state === 'delimiter') {
        if (buffer.length < 2) break;
        if (buffer.subarray(0, 2).toString('latin1') === '--') return;
        // Blanks may follow; then the line ends, which also ends an empty list of headers.
        const line = buffer.indexOf('\r\n');
        if (line < 0 && buffer.length > HEADER_BYTES_MAX) throw malformed();
        if (line < 0) break;
        buffer = buffer.subarray(line);
        state = 'headers';
      } else {
        const end = buffer.indexOf('\r\n\r\n');
        if (end < 0 && buffer.length > HEADER_BYTES_MAX) throw malformed();
        if (end < 0) break;
        yield { type: 'part', headers: headersOf(buffer.subarray(0, end).toString('latin1')) };
        buffer = buffer.subarray(end + 4);
        state = 'data';
      }
    }
  }
  throw malformed();
}

function headersOf(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\r\n').flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 0
        ? []
        : [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()] as const];
    }),
  );
}

function malformed(): SaladError {
  return new SaladError('MESSAGE_INVALID', 'the multipart body is malformed or ends within a part');
}
