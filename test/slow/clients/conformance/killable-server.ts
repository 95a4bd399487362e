/** A server in a process of its own, which can be killed and started again on its address. */
import { LineProgram } from './line-program.js';

const PROGRAM = [process.execPath, '--import', 'tsx', 'test/support/servers/server-program.ts'] as const;

export class KillableServer {
  readonly #folder: string;
  #program: LineProgram;
  #address = '127.0.0.1:0';

  private constructor(folder: string) {
    this.#folder = folder;
    this.#program = this.#spawn();
  }

  /** @param folder for its files, which a killed process leaves behind */
  static async start(folder: string): Promise<KillableServer> {
    const server = new KillableServer(folder);
    await server.#listen();
    return server;
  }

  get port(): number {
    return Number(this.#address.split(':')[1]);
  }

  async restart(): Promise<void> {
    await this.#program.kill();
    this.#program = this.#spawn();
    await this.#listen();
  }

  /** Open acquisitions. */
  async open(): Promise<number> {
    const { open } = await this.#ask<{ open: number }>({ do: 'budget', server: 0 });
    return open;
  }

  close(): Promise<void> {
    return this.#program.close();
  }

  async #listen(): Promise<void> {
    const { address } = await this.#ask<{ address: string }>({
      do: 'start',
      flags: { listen: this.#address },
    });
    this.#address = address;
  }

  async #ask<Answer>(command: object): Promise<Answer> {
    const answer = (await this.#program.ask(command)) as Answer & { error?: string };
    if (answer.error !== undefined) throw new Error(`the server to kill: ${answer.error}`);
    return answer;
  }

  #spawn(): LineProgram {
    return new LineProgram(PROGRAM, { TMPDIR: this.#folder });
  }
}
