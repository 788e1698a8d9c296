/** A command on a terminal of its own, and what a person would have seen there. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { stripVTControlCharacters } from "node:util";

export interface TerminalOptions {
  readonly columns: number;
  readonly rows?: number;
  readonly env: NodeJS.ProcessEnv;
}

export class Terminal {
  readonly #child: ChildProcess;
  #output = "";

  /** util-linux's `script` makes the terminal. */
  constructor(words: readonly string[], { columns, rows = 40, env }: TerminalOptions) {
    const quoted = words.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(" ");
    const args = ["-qfec", `stty cols ${columns} rows ${rows}; exec ${quoted}`, "/dev/null"];
    this.#child = spawn("script", args, { env });
    this.#child.stdout?.on("data", (data: Buffer) => (this.#output += data.toString()));
  }

  /** All lines that were ever drawn, in order, without what steers the terminal. */
  get lines(): readonly string[] {
    return stripVTControlCharacters(this.#output).split(/\r*\n/);
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Resolves with the exit code. */
  async end(): Promise<number> {
    const [code] = (await once(this.#child, "close")) as [number];
    return code;
  }
}
