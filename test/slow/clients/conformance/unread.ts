/** A client that pauses before it has read its answers, and what a server must do meanwhile. */
import { execFileSync } from 'node:child_process';
import { constants, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as after } from 'node:timers/promises';
import { median } from '../../../../bench/support/figures.js';
import type { RunningServer } from '../../../../src/server/server.js';
import { collectGarbage } from '../../../../src/util/collect-garbage.js';
import { allowedBytes, GARBAGE_BYTES } from '../../../support/measurements/memory-formula.js';
import { header, wide } from './case.js';
import { type Target, untilOpen } from './faults.js';
import { reference } from './reference.js';

/** Acquisitions of other clients, one after another. */
const OTHERS = 9;
/**
 * An acquisition of another client may take so much longer beside a client that does not read, once the server has
 * scored what it sent.
 */
const DELAY_RATIO_MAX = 3;
const DELAY_MS_MAX = 50;
const CALM_WITHIN_MS = 10_000;
/** Most request messages of a stream that the server holds: `PENDING_MESSAGES_MAX`, and one that arrives. */
const MESSAGES_HELD = 17;
const REACHED_WITHIN_MS = 20_000;

/** The client under test pauses at its first event, until the server was measured. */
export async function unread(server: RunningServer, pipe: string): Promise<Target> {
  execFileSync('mkfifo', [pipe]);
  const aloneMs = await medianMs(server);
  const idleBytes = await heldBytes();
  const over = new AbortController();
  const watched = watch(server, pipe, { aloneMs, idleBytes }, over.signal);
  // It is awaited in `idle`, where a failure belongs to the case.
  watched.catch(() => {});
  return {
    address: server.address,
    credentials: {},
    pause: pipe,
    async idle() {
      await watched;
      await untilOpen(server, 0);
    },
    async close() {
      over.abort();
      await watched.catch(() => {});
      rmSync(pipe);
    },
  };
}

interface Baseline {
  readonly aloneMs: number;
  readonly idleBytes: number;
}

/** @throws Error where the client never pauses, or the server does not do as it must */
async function watch(
  server: RunningServer,
  pipe: string,
  { aloneMs, idleBytes }: Baseline,
  signal: AbortSignal,
): Promise<void> {
  const paused = await openedByReader(pipe, signal);
  try {
    const giveUp = performance.now() + CALM_WITHIN_MS;
    let ms = await medianMs(server);
    while (ms > DELAY_RATIO_MAX * aloneMs + DELAY_MS_MAX) {
      if (performance.now() > giveUp)
        throw new Error(
          `others wait ${ms} ms beside a client that does not read, and ${aloneMs} ms without it`,
        );
      ms = await medianMs(server);
    }
    const reserved = server.registry.budget.bytes;
    const grownBytes = (await heldBytes()) - idleBytes;
    const received = MESSAGES_HELD * wide.samples.byteLength + 65_535;
    const allowed = allowedBytes({ connections: 2, calls: 2, received, reserved }) - GARBAGE_BYTES;
    if (grownBytes > allowed)
      throw new Error(`the server holds ${grownBytes} bytes for a client that does not read, not ${allowed}`);
  } finally {
    await paused.close();
  }
}

/** Waits until the client under test reads the pipe. */
async function openedByReader(pipe: string, signal: AbortSignal): Promise<FileHandle> {
  const giveUp = performance.now() + REACHED_WITHIN_MS;
  for (;;) {
    try {
      return await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      // No reader.
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
      if (signal.aborted || performance.now() > giveUp) throw new Error('the client did not pause');
      await after(5);
    }
  }
}

/** Of the acquisitions of other clients, which must succeed. */
async function medianMs(server: RunningServer): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < OTHERS; index++) {
    const startMs = performance.now();
    await reference(server.address, header(wide.image), wide.samples);
    times.push(performance.now() - startMs);
  }
  return median(times);
}

/** Buffers of this process, in which the server runs, without garbage: V8 frees them some time after a collection. */
async function heldBytes(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let unchanged = 0; unchanged < 3; unchanged++) {
    collectGarbage();
    await after(20);
    const { arrayBuffers } = process.memoryUsage();
    if (arrayBuffers < least) unchanged = 0;
    least = Math.min(least, arrayBuffers);
  }
  return least;
}
