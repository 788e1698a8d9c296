/** The worker's record on a disk that fills up and has room again. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openLevelState } from "@warren/agent";
import { expect, test } from "vitest";

const run = promisify(execFile);

test("a record that could not be written on a full disk is written completely once there is room", async () => {
  const disk = await mkdtemp(join(tmpdir(), "warren-full-"));
  await run("mount", ["-t", "tmpfs", "-o", "size=6m", "warren-test", disk]);
  try {
    const record = join(disk, "record");
    const filler = join(disk, "filler");
    const state = await openLevelState(record);
    const put = (key: string, bytes: number): Promise<void> => state.write([{ key, value: Buffer.alloc(bytes, key) }]);
    await put("before", 1_000);
    await writeFile(filler, Buffer.alloc(2 ** 26)).catch(() => undefined);
    await expect(put("while", 200_000)).rejects.toThrow();
    await rm(filler);
    await put("while", 200_000);
    await put("after", 1_000);
    await state.close();
    const again = await openLevelState(record);
    expect(again.lost).toBeUndefined();
    expect([...(await again.load())].map(([key, value]) => [key, value.length])).toEqual([
      ["after", 1_000],
      ["before", 1_000],
      ["while", 200_000],
    ]);
    await again.close();
  } finally {
    await run("umount", [disk]);
    await rm(disk, { recursive: true });
  }
});
