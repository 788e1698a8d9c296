/** One command in a container, joined to this process's terminal or pipes. */
import { once } from "node:events";
import { AsyncQueue } from "@warren/std";
import type { ExecRequest, TerminalSize } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { CommandFailed } from "./warren-command.ts";

export interface ExecOptions {
  readonly ref: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  readonly tty: boolean;
  readonly interactive: boolean;
}

type Message = NonNullable<ExecRequest["message"]>;

/** Signals that are the command's, not ours. With a terminal they arrive as what is typed. */
const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

/** @returns the command's exit code */
export async function runExec(client: ApiClient, options: ExecOptions): Promise<number> {
  const { tty, interactive, command, ...rest } = options;
  const requests = new AsyncQueue<ExecRequest>();
  const send = (message: Message): void => void requests.push({ message });
  const size = tty ? terminalSize() : undefined;
  send({ $case: "open", value: { ...rest, command: [...command], env: { ...rest.env }, tty, size } });
  using _terminal = tty ? rawTerminal(send) : signalsTo(send);
  if (interactive) passStdin(send);
  else send({ $case: "stdinEnd", value: true });
  try {
    for await (const { message } of client.tasks.exec(requests)) {
      switch (message?.$case) {
        case "stdout":
          if (!process.stdout.write(message.value)) await once(process.stdout, "drain");
          break;
        case "stderr":
          if (!process.stderr.write(message.value)) await once(process.stderr, "drain");
          break;
        case "exitCode":
          return message.value;
        case "started":
        case undefined:
          break;
      }
    }
  } finally {
    requests.close();
    process.stdin.destroy();
  }
  throw new CommandFailed("the connection ended before the command did: whether it still runs is not known");
}

function terminalSize(): TerminalSize {
  return { columns: process.stdout.columns, rows: process.stdout.rows };
}

/** The terminal without its own line editing, and its changes of size passed on; as it was at the end. */
function rawTerminal(send: (message: Message) => void): Disposable {
  const resize = (): void => send({ $case: "resize", value: terminalSize() });
  process.stdin.setRawMode(true);
  process.stdout.on("resize", resize);
  return {
    [Symbol.dispose]() {
      process.stdout.off("resize", resize);
      process.stdin.setRawMode(false);
    },
  };
}

function signalsTo(send: (message: Message) => void): Disposable {
  const listeners = forwarded.map((name) => [name, () => send({ $case: "signal", value: name })] as const);
  for (const [name, listener] of listeners) process.on(name, listener);
  return {
    [Symbol.dispose]() {
      for (const [name, listener] of listeners) process.off(name, listener);
    },
  };
}

function passStdin(send: (message: Message) => void): void {
  process.stdin.on("data", (chunk: Buffer) => send({ $case: "stdin", value: chunk }));
  process.stdin.once("end", () => send({ $case: "stdinEnd", value: true }));
}
