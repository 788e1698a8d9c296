import { signalNumber } from "../signals.ts";
import type { FakeProcess } from "./fake-process.ts";

/** One step of a process of the contract suite. */
export type Step =
  | { readonly do: "print"; readonly text: string; readonly to?: "stdout" | "stderr" }
  /** Copies standard input to standard output until its end. */
  | { readonly do: "copy" }
  /** Prints `NAME=value`, or `NAME=` where it is not set. */
  | { readonly do: "env"; readonly name: string }
  /** Sends back, on each connection to this port, what it is sent. */
  | { readonly do: "echo-port"; readonly port: number }
  /** Waits for this signal. */
  | { readonly do: "await"; readonly signal: "USR1" }
  /** Ignores SIGTERM from here on. */
  | { readonly do: "ignore-term" }
  | { readonly do: "eat-memory" }
  /** Ends the process; without this step it ends with 0. */
  | { readonly do: "exit"; readonly code: number }
  /** Runs until a signal ends it. */
  | { readonly do: "run" };

export type Program = readonly Step[];

/** For `sh -c`, as the container's first process too, where a signal without a handler does nothing. */
export function shellScript(program: Program): string {
  const lines = program.map((step) => {
    switch (step.do) {
      case "print":
        return `printf %s '${step.text.replaceAll("'", `'\\''`)}'${step.to === "stderr" ? " >&2" : ""}`;
      case "copy":
        return "cat";
      case "env":
        return `echo "${step.name}=$${step.name}"`;
      case "echo-port":
        // Each nc serves one connection; nothing listens for a moment between two.
        return `while :; do nc -l -p ${step.port} -e cat; done &`;
      case "await":
        return `while [ -z "$came" ]; do wait_a_bit; done; came=`;
      case "ignore-term":
        return "trap : TERM";
      case "eat-memory":
        return "exec tail /dev/zero";
      case "exit":
        return `exit ${step.code}`;
      case "run":
        return "while :; do wait_a_bit; done";
      default:
        return step satisfies never;
    }
  });
  // A trap interrupts `wait` but not `sleep`; one second bounds the delay of a signal between two commands.
  return `trap 'exit 143' TERM\ntrap 'came=1' USR1\nwait_a_bit() { sleep 1 & wait $!; }\n${lines.join("\n")}`;
}

/** Runs the program in a fake process. */
export function playProgram(program: Program, process: FakeProcess): void {
  let term = true;
  let came: PromiseWithResolvers<void> = Promise.withResolvers();
  process.onSignal((signal) => {
    if (signal === "SIGUSR1") came.resolve();
    else if (signal !== "SIGTERM") process.exit(128 + signalNumber(signal));
    else if (term) process.exit(143);
  });
  void (async (): Promise<void> => {
    for (const step of program) {
      switch (step.do) {
        case "print":
          await process.write(step.to ?? "stdout", step.text);
          break;
        case "copy":
          for await (const chunk of process.stdin) await process.write("stdout", chunk);
          break;
        case "env": {
          const env = { ...process.container.env, ...process.exec?.env };
          await process.write("stdout", `${step.name}=${env[step.name] ?? ""}\n`);
          break;
        }
        case "echo-port":
          process.listen(step.port, ({ readable, writable }) => void readable.pipeTo(writable).catch(() => undefined));
          break;
        case "await":
          await came.promise;
          came = Promise.withResolvers();
          break;
        case "ignore-term":
          term = false;
          break;
        case "eat-memory":
          return process.outOfMemory();
        case "exit":
          return process.exit(step.code);
        case "run":
          return;
        default:
          step satisfies never;
      }
    }
    process.exit(0);
  })();
}
