/** Pings that find a lost connection, and that go on after the server announced the end of the connection. */
import type { ClientHttp2Session } from 'node:http2';
import type { ChannelInterface } from '@grpc/grpc-js';

export interface KeepaliveOptions {
  /** Time between two pings while calls run, in ms. Servers refuse pings that come too often. @default 30000 */
  readonly timeMs?: number;
  /** A ping without an answer for this long ends the connection and its calls, in ms. @default 10000 */
  readonly timeoutMs?: number;
}

const TIME_MS = 30_000;
const TIMEOUT_MS = 10_000;

/** The channel options of grpc-js for these pings. */
export function keepaliveChannelOptions({ timeMs = TIME_MS, timeoutMs = TIMEOUT_MS }: KeepaliveOptions = {}) {
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
 * After a GOAWAY the calls on the connection finish, and Node marks the session as closing. Node's `ping` fails on such
 * a session without sending anything, and grpc-js takes that failure for a lost connection: it ends the running calls
 * as UNAVAILABLE "Connection dropped". This makes the pings of a closing session real ones.
 *
 * @param channel must have a subchannel pool of its own (`grpc.use_local_subchannel_pool`)
 * @throws Error where grpc-js has changed inside and the sessions cannot be reached
 */
export function pingAfterGoaway(channel: ChannelInterface): void {
  const pool = (channel as unknown as ChannelInternals).internalChannel?.subchannelPool;
  const getOrCreate = pool?.getOrCreateSubchannel;
  if (pool === undefined || getOrCreate === undefined) throw unknownVersion();
  const seen = new WeakSet<Connector>();
  pool.getOrCreateSubchannel = (...args) => {
    const subchannel = getOrCreate.apply(pool, args);
    const { connector } = subchannel;
    if (connector?.connect === undefined) throw unknownVersion();
    if (!seen.has(connector)) {
      seen.add(connector);
      repairPings(connector, connector.connect);
    }
    return subchannel;
  };
}

function repairPings(connector: Connector, connect: NonNullable<Connector['connect']>): void {
  connector.connect = async (...args) => {
    const transport = await connect.apply(connector, args);
    const { session } = transport;
    if (session === undefined) throw unknownVersion();
    const ping = session.ping;
    session.ping = (...pingArgs: unknown[]) =>
      Reflect.apply(ping, session.closed && !session.destroyed ? asOpen(session) : session, pingArgs);
    return transport;
  };
}

/** The session itself, except that `closed` reads false. */
function asOpen(session: ClientHttp2Session): ClientHttp2Session {
  return Object.create(session, { closed: { value: false } }) as ClientHttp2Session;
}

function unknownVersion(): Error {
  return new Error('this version of @grpc/grpc-js is not supported: its HTTP/2 sessions cannot be reached');
}
