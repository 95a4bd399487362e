/** The program of a process of the load generator; `processes.ts` starts it. */
import { type Command, type Message, runJob } from './processes.js';

const PROGRESS_MS = 1000;
const abort = new AbortController();
let reportedAtMs = 0;

const send = (message: Message) => {
  if (process.connected) process.send?.(message);
};

// The terminal sends Ctrl-C to all processes; the first process decides and keeps what was measured.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
process.once('disconnect', () => process.exit());
process.on('message', (command: Command) => {
  if (command.type === 'stop') {
    abort.abort();
    return;
  }
  const { job } = command;
  runJob(job, {
    signal: abort.signal,
    onProgress(done, failed) {
      const now = performance.now();
      if (now - reportedAtMs < PROGRESS_MS) return;
      reportedAtMs = now;
      send({ type: 'progress', done, failed });
    },
    ...(job.reportsRequests ? { onRequest: (record) => send({ type: 'request', record }) } : {}),
  }).then(
    (result) => send({ type: 'result', result }),
    (error: unknown) => send({ type: 'error', message: String(error) }),
  );
});
send({ type: 'ready' });
