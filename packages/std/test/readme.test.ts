import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { runReadmeExample } from "@warren/std/testing";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toBe("warm\ndry\ndark\n");
});

test(
  "an example's exit code, output and claimed output are returned, through another program too, and a README without one is refused",
  { timeout: 30_000 },
  async () => {
    const path = await mkdtemp(`${tmpdir()}/warren-readme-`);
    const folder = pathToFileURL(`${path}/`);
    try {
      const source = 'console.log(process.env["SEASON"] as string);\nconsole.error("no");\nprocess.exitCode = 3;\n';
      await writeFile(
        `${path}/README.md`,
        `# A\n\n\`\`\`sh\nls\n\`\`\`\n\n\`\`\`ts\n${source}\`\`\`\n\n\`\`\`ts\nsecond\n\`\`\`\n\nprints\n\n\`\`\`\nwinter\n\`\`\`\n`,
      );
      expect(await runReadmeExample(folder, ["env", "SEASON=winter"])).toEqual({
        source,
        printed: "winter\n",
        code: 3,
        stdout: "winter\n",
        stderr: "no\n",
      });
      await writeFile(`${path}/README.md`, "# A\n");
      await expect(runReadmeExample(folder)).rejects.toThrow("no block of ts");
    } finally {
      await rm(path, { recursive: true });
    }
  },
);
