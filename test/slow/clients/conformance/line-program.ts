/** A program that answers each line of JSON with one line of JSON, and ends when its standard input ends. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { root } from '../../../support/root.js';

export class LineProgram {
  readonly #program: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;

  /** @param environment beside that of this process */
  constructor(
    [command, ...args]: readonly [string, ...string[]],
    environment: Readonly<Record<string, string>> = {},
  ) {
    this.#program = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#exited = once(this.#program, 'exit');
    this.#lines = createInterface({ input: this.#program.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  async ask(message: object): Promise<unknown> {
    this.#program.stdin.write(`${JSON.stringify(message)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('the program ended; its own words are above');
    return JSON.parse(value) as unknown;
  }

  /** Ends it as the kernel does where memory is short. */
  async kill(): Promise<void> {
    this.#program.kill('SIGKILL');
    await this.#exited;
    this.#lines.close();
  }

  async close(): Promise<void> {
    this.#program.stdin.end();
    await this.#exited;
    this.#lines.close();
  }
}
