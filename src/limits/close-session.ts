import { constants, type Http2Session } from 'node:http2';

const closing = new WeakSet<Http2Session>();

/** Whether `closeSession` was called: the session is destroyed soon, and its new streams are not to be served. */
export function isClosing(session: Http2Session): boolean {
  return closing.has(session);
}

/**
 * Sends GOAWAY (ENHANCE_YOUR_CALM) with a reason and destroys the session after the bytes that are being read. Node 22
 * ends the process where a session is destroyed in an event of its own bytes and the next bytes open a stream with data
 * (assertion `onread->IsFunction()`, seen with 22.23.5).
 * @returns false if the session was closing already
 */
export function closeSession(session: Http2Session, reason: string): boolean {
  if (session.destroyed || isClosing(session)) return false;
  closing.add(session);
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, undefined, Buffer.from(reason));
  setImmediate(() => session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM));
  return true;
}
