/** What `tools/vm` does; it has set up what this needs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { removeImages } from "./image.ts";
import { Machine } from "./machine.ts";

const root = join(import.meta.dirname, "../..");

function say(text: string): void {
  process.stderr.write(`vm: ${text}\n`);
}

/** @returns the exit code */
async function main([command = "", ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case "up":
      await Machine.start(say);
      say("it runs: tools/vm run -- COMMAND, tools/vm down");
      return 0;
    case "run": {
      const words = args[0] === "--" ? args.slice(1) : args;
      const machine = await Machine.find();
      if (machine === undefined) throw new Error("no machine runs: start one with tools/vm up");
      return inherit(machine.sshCommand(words, process.stdin.isTTY ? ["-t"] : []));
    }
    case "down":
      await (await Machine.find())?.stop();
      return 0;
    case "test":
      return inherit(["pnpm", "exec", "vitest", "run", "--project", "machine", "--reporter", "verbose", ...args]);
    case "clean":
      if ((await Machine.find()) !== undefined) throw new Error("a machine runs: end it with tools/vm down");
      await removeImages();
      return 0;
    default:
      throw new Error(`no command '${command}'`);
  }
}

/** Runs a program on this terminal, in the project's folder. @returns its exit code */
async function inherit([program = "", ...args]: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: "inherit", cwd: root });
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say((error as Error).message);
  process.exitCode = 1;
}
