/** Texts of a caller, made fit for what they are repeated in. */

/** Characters of a name or an id that are repeated. */
const NAME_MAX = 64;

/** Control characters, line breaks and what has no picture of its own. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * A text of a caller as errors, trailers, logs and spans may hold it: one line, no longer than `max` characters; of a
 * longer one its beginning and how many there were.
 */
export function callerText(text: string, max = NAME_MAX): string {
  // Not by code units: half a character cannot be sent.
  const head = [...text.slice(0, 2 * max + 1)];
  const shown = head.length > max ? head.slice(0, max) : head;
  const visible = shown.join('').replace(INVISIBLE, '\u{FFFD}');
  return head.length > max ? `${visible}… (${text.length} characters)` : visible;
}

/** Bytes of a message of ours that goes to a caller, a log or a span. */
const MESSAGE_BYTES_MAX = 2048;

/**
 * A message of ours, which may hold texts of a caller, in no more than `maxBytes` of UTF-8 and a few for what was cut.
 */
export function boundedMessage(message: string, maxBytes = MESSAGE_BYTES_MAX): string {
  // A code unit is three bytes at most.
  if (3 * message.length <= maxBytes) return message;
  const bytes = Buffer.from(message.slice(0, maxBytes + 1));
  if (bytes.byteLength <= maxBytes) return message;
  let end = maxBytes;
  // Not within a character.
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return `${bytes.subarray(0, end).toString()}… (${message.length} characters)`;
}
