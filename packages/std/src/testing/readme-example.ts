import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

export interface ReadmeExample {
  /** The program as the README prints it. */
  readonly source: string;
  /** The output that the README claims: the block after the line `prints`; undefined where there is none. */
  readonly printed: string | undefined;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the first `ts` block of a package's README, as printed, as a module in the package's folder; packages of the
 * workspace are taken from their sources. The caller checks what it prints.
 *
 * @param folder the package's, as `new URL("..", import.meta.url)`
 * @param through a program and arguments that it is started through, such as `["nsenter", "--net=/run/netns/a"]`
 * @throws if there is no such block
 */
export async function runReadmeExample(folder: URL, through: readonly string[] = []): Promise<ReadmeExample> {
  const cwd = fileURLToPath(folder);
  const readme = await readFile(new URL("README.md", folder), "utf8");
  const source = /^```ts\n([\s\S]*?)^```/m.exec(readme)?.[1];
  const printed = /^prints\n\n```\n([\s\S]*?)^```/m.exec(readme)?.[1];
  if (source === undefined) throw new Error(`${cwd}README.md has no block of ts to run`);
  const flags = ["--conditions=warren-source", "--input-type=module-typescript", "--eval", source];
  const [program = process.execPath, ...args] = [...through, process.execPath, ...flags];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ source, printed, code: code ?? 1, stdout, stderr }));
  });
}
