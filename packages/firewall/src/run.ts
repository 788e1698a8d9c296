import { spawn } from "node:child_process";
import { FirewallError } from "./errors.ts";
import type { RulesEvents, Run } from "./types.ts";

/** With the directories of nft and iptables, which a service's PATH may lack. */
const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;

export const runProgram: Run = (program, args, input = "") =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "pipe", env: { ...process.env, PATH: path, LC_ALL: "C" } });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
    // EPIPE: the program ended before it read its input; its exit code and stderr say why.
    child.stdin.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") reject(error);
    });
    child.stdin.end(input);
  });

/** As `run`, but that transactions of nft start no program where the kernel's nftables can be had without. */
export function withoutNft(events: Pick<RulesEvents, "runNft">, run: Run): Run {
  return async (program, args, input) => {
    const isTransaction = program === "nft" && args.join(" ") === "-f -" && input !== undefined;
    const done = isTransaction ? await events.runNft?.(input) : undefined;
    return done ?? run(program, args, input);
  };
}

/** Standard output of a program. @throws FirewallError `FIREWALL_RULES_FAILED` if its exit code is not 0 */
export async function mustRun(run: Run, program: string, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, input);
  if (code === 0) return stdout;
  const output = stderr.trim().slice(0, 2_000);
  throw new FirewallError(
    { code: "FIREWALL_RULES_FAILED", program, output },
    `${program} refused the rules (exit ${code}): ${output}; the rules that were applied before are in place`,
  );
}
