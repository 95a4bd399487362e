/** Pings that detect a lost connection, also after the server has sent GOAWAY. */
import type { ClientHttp2Session } from 'node:http2';
import type { ChannelInterface } from '@grpc/grpc-js';

export interface KeepaliveOptions {
  /** Interval between pings while calls run, in ms. Servers close connections that ping too often. @default 30000 */
  readonly timeMs?: number;
  /** Longest wait for the answer to a ping, in ms; then the connection and its calls end. @default 10000 */
  readonly timeoutMs?: number;
}

const DEFAULT_TIME_MS = 30_000;
const DEFAULT_TIMEOUT_MS = 10_000;

/** Converts keepalive options to channel options of grpc-js. */
export function keepaliveChannelOptions({
  timeMs = DEFAULT_TIME_MS,
  timeoutMs = DEFAULT_TIMEOUT_MS,
}: KeepaliveOptions = {}) {
  return { 'grpc.keepalive_time_ms': timeMs, 'grpc.keepalive_timeout_ms': timeoutMs };
}

/** The private parts of grpc-js 1.14 that lead to a channel's HTTP/2 sessions. */
interface ChannelInternals {
  readonly internalChannel?: {
    readonly subchannelPool?: { getOrCreateSubchannel?: (...args: unknown[]) => { connector?: Connector } };
  };
}

interface Connector {
  connect?: (...args: unknown[]) => Promise<{ session?: ClientHttp2Session }>;
}

/**
 * Makes pings work on a connection that has received GOAWAY. After a GOAWAY the calls on the connection finish, and Node
 * marks the session as closing. Node's `ping` fails on such a session without sending anything, and grpc-js treats that
 * failure as a lost connection: it ends the running calls with UNAVAILABLE "Connection dropped".
 *
 * @param channel must have a subchannel pool of its own (`grpc.use_local_subchannel_pool`)
 * @throws Error if the internals of this grpc-js version differ, so that its sessions cannot be reached
 */
export function pingAfterGoaway(channel: ChannelInterface): void {
  const pool = (channel as unknown as ChannelInternals).internalChannel?.subchannelPool;
  const getOrCreate = pool?.getOrCreateSubchannel;
  if (pool === undefined || getOrCreate === undefined) throw unsupportedVersion();
  const patched = new WeakSet<Connector>();
  pool.getOrCreateSubchannel = (...args) => {
    const subchannel = getOrCreate.apply(pool, args);
    const { connector } = subchannel;
    if (connector?.connect === undefined) throw unsupportedVersion();
    if (!patched.has(connector)) {
      patched.add(connector);
      patchPings(connector, connector.connect);
    }
    return subchannel;
  };
}

function patchPings(connector: Connector, connect: NonNullable<Connector['connect']>): void {
  connector.connect = async (...args) => {
    const transport = await connect.apply(connector, args);
    const { session } = transport;
    if (session === undefined) throw unsupportedVersion();
    const ping = session.ping;
    session.ping = (...pingArgs: unknown[]) =>
      Reflect.apply(ping, session.closed && !session.destroyed ? asOpen(session) : session, pingArgs);
    return transport;
  };
}

/** Returns a view of the session in which `closed` is false. */
function asOpen(session: ClientHttp2Session): ClientHttp2Session {
  return Object.create(session, { closed: { value: false } }) as ClientHttp2Session;
}

function unsupportedVersion(): Error {
  return new Error('this version of @grpc/grpc-js is not supported: its HTTP/2 sessions cannot be reached');
}
