import { dirname } from "node:path";
import { Command, Errors, Flags } from "@oclif/core";
import { WarrenError } from "@warren/std";
import { ApiError, type ObjectKind } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import type { ListFlags } from "./list-output.ts";
import { violationText, type FieldWords } from "./field-words.ts";
import { unknownFlagText } from "./unknown-flags.ts";
import { formats, render, type Format, type Printable } from "./output.ts";
import { longestTimerMs, parseDuration, UnitError } from "./units.ts";

/** Where a manager is found when nobody says otherwise. */
const defaultHost = "unix:/run/warren/manager.sock";

/** Exit codes: 0 done, 1 refused or failed, 2 usage. */
const exitFailed = 1;
const exitUsage = 2;

const output = {
  char: "o",
  description: "Format: table for people; json, yaml or name for programs",
  options: [...formats],
  helpGroup: "GLOBAL",
} as const;

/** The flag of every command that prints what it read. */
export const outputFlag = { output: Flags.string({ ...output, default: "table" }) };
/** The same for one object in full, which a table has no room for. */
export const inspectFlag = { output: Flags.string({ ...output, default: "yaml" }) };
/** The flag of commands that answer people in sentences. */
export const textFlag = {
  output: Flags.string({
    char: "o",
    description: "Format for programs (default: text for people)",
    options: ["json", "yaml"],
    helpGroup: "GLOBAL",
  }),
};

/** The flag of every command that waits for what it began. */
export const waitFlags = {
  detach: Flags.boolean({ char: "d", description: "Return at once, without waiting" }),
  timeout: Flags.string({
    description: "Longest time to wait",
    default: "10m",
    helpValue: "DURATION",
    // Here, so that what can't be waited for changes nothing.
    parse: async (text) => (parseDuration(text, longestTimerMs), text),
  }),
};

/** A command that was refused or failed: one line that says what, why and what to do. */
export class CommandFailed extends Error {}

/** What all commands of `warren` share: the manager they speak to, how they print and how they fail. */
export abstract class WarrenCommand extends Command {
  static override baseFlags = {
    verbose: Flags.boolean({ description: "Print the raw text of errors, too", helpGroup: "GLOBAL" }),
    host: Flags.string({
      description: "Manager to talk to, by its socket",
      helpValue: "unix:PATH",
      env: "WARREN_HOST",
      default: defaultHost,
      helpGroup: "GLOBAL",
    }),
  };

  /** What `--help` shows of the flags, in this order; undefined: all. */
  static readonly commonFlags: readonly string[] | undefined = undefined;

  /** What of the command line sets which field of its request. */
  static readonly fieldWords: FieldWords = {};

  readonly #ending = new AbortController();
  #watchesOutput = false;
  readonly #onOutputClosed = (error: NodeJS.ErrnoException): void => {
    if (error.code !== "EPIPE") throw error;
    this.#ending.abort(new DOMException("the output is closed", "AbortError"));
  };
  #client: ApiClient | undefined;
  /** Of the manager that it spoke to. */
  #socket: string | undefined;

  /**
   * Aborted once somebody asked for it by SIGINT and SIGTERM, which end the process otherwise, and when what reads the
   * output has closed it, as `head` does: a command that prints on and on would never end for it.
   */
  protected get interrupted(): AbortSignal {
    if (!this.#watchesOutput) {
      this.#watchesOutput = true;
      for (const stream of [process.stdout, process.stderr]) stream.on("error", this.#onOutputClosed);
    }
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      if (process.listenerCount(name) > 0) continue;
      process.once(name, () => this.#ending.abort(new DOMException(name, "AbortError")));
    }
    return this.#ending.signal;
  }

  /** The manager's API. One connection a command. */
  protected async connect(host: string): Promise<ApiClient> {
    const { connect } = await import("@warren/api/client");
    this.#socket = parseHost(host).socket;
    return (this.#client ??= connect(parseHost(host)));
  }

  protected async print<T>(format: string, printable: Printable<T>): Promise<void> {
    const text = await render(format as Format, printable);
    if (text !== "") process.stdout.write(`${text}\n`);
  }

  /** The same; with `--watch` again after every change of these kinds of objects. */
  protected async showList<T>(
    client: ApiClient,
    flags: ListFlags & { readonly watch: boolean },
    kinds: readonly ObjectKind[],
    read: () => Promise<Printable<T>>,
  ): Promise<void> {
    if (!flags.watch) return this.printList(flags, await read());
    const { listText, showAgain } = await import("./list-output.ts");
    await showAgain(client, kinds, async () => listText(flags, await read()), this.interrupted);
  }

  protected async printList<T>(flags: ListFlags, list: Printable<T>): Promise<void> {
    const { listText } = await import("./list-output.ts");
    const text = await listText(flags, list);
    if (text !== "") process.stdout.write(`${text}\n`);
  }

  /** The part of the command line before `--`, and what is after it. To be asked for before `parse`, which takes it apart. */
  protected splitArgv(): { readonly own: string[]; readonly rest: string[] | undefined } {
    const at = this.argv.indexOf("--");
    return at === -1
      ? { own: this.argv, rest: undefined }
      : { own: this.argv.slice(0, at), rest: this.argv.slice(at + 1) };
  }

  protected override async catch(error: Error & { exitCode?: number; oclif?: { exit?: number } }): Promise<never> {
    if (error instanceof Errors.ExitError) throw error;
    const unknown = unknownFlags(error);
    if (unknown !== undefined) {
      const own = this.constructor as typeof WarrenCommand;
      error = new UnitError(unknownFlagText(unknown, this.id ?? "", Object.keys({ ...own.flags, ...own.baseFlags })));
    }
    const usage = error instanceof UnitError || error instanceof Errors.CLIError;
    process.stderr.write(`error: ${this.#lineOf(error)}\n`);
    const ended = (error as { code?: string }).code === "API_UNAVAILABLE" ? await this.#howManagerEnded() : undefined;
    if (ended !== undefined) process.stderr.write(`${ended}\n`);
    if (usage) process.stderr.write(`see: warren ${this.id?.replaceAll(":", " ") ?? ""} --help\n`);
    return this.exit(usage ? exitUsage : exitFailed);
  }

  /** What, why and what to do. */
  #lineOf(error: unknown): string {
    const usage = error instanceof UnitError || error instanceof Errors.CLIError;
    // What is not one of ours is a bug, and its stack is what its finder can report.
    const expected = usage || error instanceof CommandFailed || WarrenError.is(error);
    if (!expected) return error instanceof Error ? (error.stack ?? error.message) : String(error);
    const { remedy = "" } = error as { remedy?: string };
    const { fieldWords } = this.constructor as typeof WarrenCommand;
    const text =
      ApiError.is(error, "API_INVALID") && error.failure.violations.length > 0
        ? violationText(error.failure.violations, fieldWords)
        : failureText(error, this.argv.includes("--verbose"))
            .replace(/^Parsing (--\S+) \n\t/, "$1: ")
            .replace(/\nSee more help with --help$/, "")
            // Not true here: a flag takes one value each time.
            .replace(/\n\nNote: [^]*$/, "")
            .replace(/^The following errors? occurred:\s+/, "")
            .replaceAll(/(--\S+?)=\S+ cannot also be provided when using (--\S+)/g, "$1 and $2 contradict each other");
    return `${text}${remedy === "" ? "" : `; ${remedy}`}`;
  }

  /**
   * Does `work` to each, one after the other, also after a failure, which is reported by its name.
   *
   * @returns how many failed
   * @throws unknown the failure, where there is one item, or it would be that of all
   */
  protected async each<T>(
    items: readonly T[],
    nameOf: (item: T) => string,
    work: (item: T) => Promise<void>,
  ): Promise<number> {
    let failed = 0;
    for (const item of items) {
      try {
        await work(item);
      } catch (error) {
        if (items.length === 1 || ApiError.is(error, "API_UNAVAILABLE")) throw error;
        failed += 1;
        process.stderr.write(`error: ${nameOf(item)}: ${this.#lineOf(error)}\n`);
      }
    }
    return failed;
  }

  /** Undefined where it runs, or did not end by itself. */
  async #howManagerEnded(): Promise<string | undefined> {
    if (this.#socket === undefined) return undefined;
    const { LastEnd } = await import("@warren/daemon");
    return new LastEnd(dirname(this.#socket), "manager").read();
  }

  protected override async finally(): Promise<void> {
    this.#client?.close();
  }
}

/**
 * An error with its causes, each said once. What lies below an error of the API is the raw text of a connection.
 *
 * @param raw with that text, too
 */
export function failureText(error: unknown, raw: boolean): string {
  const parts: string[] = [];
  for (let each = error; each instanceof Error; each = each.cause) {
    const { message } = each;
    if (!parts.some((part) => part.includes(message))) parts.push(message);
    if (ApiError.is(each) && !raw) break;
  }
  return parts.join(": ");
}

/** Of oclif's error for flags that a command has not. */
function unknownFlags(error: unknown): readonly string[] | undefined {
  const { flags, message = "" } = error as { readonly flags?: unknown; readonly message?: string };
  return message.startsWith("Nonexistent flag") && Array.isArray(flags) ? (flags as string[]) : undefined;
}

/** @throws UnitError */
function parseHost(host: string): { readonly socket: string } {
  const path = host.startsWith("unix:") ? host.slice("unix:".length) : host;
  if (path.startsWith("//") || !path.startsWith("/")) {
    throw new UnitError(`--host ${host}: give unix:/PATH; managers are not reached over TCP yet`);
  }
  return { socket: path };
}
