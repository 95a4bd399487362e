/** Texts of a caller, made fit for what they are repeated in. */

/** Characters of a name or an id that are repeated. */
const NAME_MAX = 64;
/** Characters of a whole message: twice in trailers, and percent-encoded once, it stays below 8 KiB. */
export const MESSAGE_MAX = 1024;

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

/** As `callerText`, for a message of ours that may hold texts of a caller, with the line breaks it has. */
export function boundedMessage(message: string, max = MESSAGE_MAX): string {
  if (message.length <= max) return message;
  return `${[...message.slice(0, max)].slice(0, -1).join('')}… (${message.length} characters)`;
}
