import { spawn } from "node:child_process";
import { LoadBalancerError } from "../errors.ts";
import type { Run } from "./types.ts";

/** Where Debian has them; a service's PATH may not. */
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
    // A program that ends before it has read its input says why on stderr; EPIPE adds nothing.
    child.stdin.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") reject(error);
    });
    child.stdin.end(input);
  });

/** Standard output of a program that has to succeed. */
export async function mustRun(run: Run, program: string, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, input);
  if (code === 0) return stdout;
  const output = stderr.trim().slice(0, 2_000);
  throw new LoadBalancerError(
    { code: "LB_RULES_FAILED", program, output },
    `${program} refused the rules (exit ${code}): ${output}; the rules before them are still in place`,
  );
}
