/** Limits and cleans texts that are repeated in errors, trailers, logs and spans. */

/** Most characters of a name or an id that are repeated. */
const NAME_MAX = 64;

/** Control characters, line breaks and other invisible characters. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Returns a caller's text in one line of at most `max` characters. A longer text is cut, and its length is appended. */
export function callerText(text: string, max = NAME_MAX): string {
  // Counted in code points, because half a surrogate pair cannot be encoded.
  const head = [...text.slice(0, 2 * max + 1)];
  const shown = head.length > max ? head.slice(0, max) : head;
  const visible = shown.join('').replace(INVISIBLE, '\u{FFFD}');
  return head.length > max ? `${visible}… (${text.length} characters)` : visible;
}

/** Most bytes of a message that is sent to a caller, a log or a span. */
const MESSAGE_BYTES_MAX = 2048;

/**
 * Limits a message of the program, which may contain texts of a caller, to `maxBytes` of UTF-8. A longer message is cut, and
 * its length is appended.
 */
export function boundedMessage(message: string, maxBytes = MESSAGE_BYTES_MAX): string {
  // A UTF-16 code unit has at most three bytes in UTF-8.
  if (3 * message.length <= maxBytes) return message;
  const bytes = Buffer.from(message.slice(0, maxBytes + 1));
  if (bytes.byteLength <= maxBytes) return message;
  let end = maxBytes;
  // Cuts between two characters.
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return `${bytes.subarray(0, end).toString()}… (${message.length} characters)`;
}
