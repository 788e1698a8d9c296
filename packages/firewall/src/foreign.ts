import { runProgram } from "./run.ts";
import type { Run } from "./types.ts";

/** A program that owns the machine's other rules, among those that people have. */
export type ForeignFirewall = "ufw" | "firewalld";

/** Which of them has rules here; undefined: none, or another. Starts a few programs, for a look after a fault was found. */
export async function foreignFirewall(run: Run = runProgram): Promise<ForeignFirewall | undefined> {
  if (await succeeds(run, "nft", ["list", "table", "inet", "firewalld"])) return "firewalld";
  const chain = "ufw-user-input";
  const isUfw =
    (await succeeds(run, "iptables", ["-S", chain])) ||
    (await succeeds(run, "nft", ["list", "chain", "ip", "filter", chain]));
  return isUfw ? "ufw" : undefined;
}

async function succeeds(run: Run, program: string, args: readonly string[]): Promise<boolean> {
  try {
    return (await run(program, args)).code === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
