/** The clients that the conformance suite drives. */
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { root } from '../../../support/salad.js';
import type { CaseMessage, Outcome } from './protocol.js';

export const SUBJECTS = ['typescript', 'python', 'python-asyncio', 'go', 'tritonclient'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

/** A program that uses one client. */
export class Subject {
  readonly #program: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  constructor([command, ...args]: readonly [string, ...string[]]) {
    this.#program = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#program.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  async ask(message: CaseMessage): Promise<Outcome> {
    this.#program.stdin.write(`${JSON.stringify(message)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('the subject ended; its own words are above');
    return JSON.parse(value) as Outcome;
  }

  async close(): Promise<void> {
    const exited = once(this.#program, 'exit');
    this.#program.stdin.end();
    await exited;
    this.#lines.close();
  }
}

/** @param folder for what is built */
export async function startSubject(name: SubjectName, folder: string): Promise<Subject> {
  switch (name) {
    case 'typescript':
      return new Subject([
        process.execPath,
        '--import',
        'tsx',
        'test/slow/clients/conformance/typescript.ts',
      ]);
    case 'python':
      return new Subject(await python('sync'));
    case 'python-asyncio':
      return new Subject(await python('aio'));
    case 'tritonclient': {
      const { inferenceClients } = await import(join(root, 'scripts/clients/open-inference.mjs'));
      return new Subject([inferenceClients() as string, 'test/slow/open-inference/conformance.py']);
    }
    case 'go': {
      const program = join(folder, 'go-subject');
      execFileSync('go', ['build', '-o', program, './conformance'], {
        cwd: join(root, 'clients/go'),
        stdio: ['ignore', 2, 2],
      });
      return new Subject([program]);
    }
  }
}

/** The sources of the checkout, whatever was installed. */
async function python(kind: 'sync' | 'aio'): Promise<readonly [string, ...string[]]> {
  const { pythonClientEnvironment } = await import(join(root, 'scripts/clients/python-client.mjs'));
  const start =
    'import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name="__main__")';
  const files = ['clients/python/src', 'clients/python/conformance/subject.py'];
  return [pythonClientEnvironment('newest') as string, '-c', start, ...files, kind];
}
