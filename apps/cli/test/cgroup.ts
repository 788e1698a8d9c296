/** A process's cgroup files, on either version. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

export function cgroupVersion(): 1 | 2 {
  return existsSync("/sys/fs/cgroup/cgroup.controllers") ? 2 : 1;
}

/** @param file with its controller's name before it on version 1: `cpu/cpu.shares` */
export async function readCgroup(pid: number, file: string): Promise<string> {
  const lines = (await readFile(`/proc/${pid}/cgroup`, "utf8")).split("\n").map((line) => line.split(":"));
  if (cgroupVersion() === 2) return readFile(join("/sys/fs/cgroup", lines[0]?.[2] ?? "", file), "utf8");
  const [controller = "", name = ""] = file.split("/");
  const line = lines.find(([, controllers = ""]) => controllers.split(",").includes(controller));
  return readFile(join("/sys/fs/cgroup", line?.[1] ?? controller, line?.[2] ?? "", name), "utf8");
}
