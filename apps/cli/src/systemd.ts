/**
 * This machine's systemd and the units of our daemons. The units are files of this package (`units/`), with the command's
 * own path put in; they run the daemons on the machine's own directories.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { assert } from "@warren/std";
import { defaultFolders, type DaemonName, type Folders } from "./folders.ts";
import { splitWords } from "./service/flag-syntax.ts";
import { CommandFailed } from "./warren-command.ts";

const unitDirectory = "/etc/systemd/system";
/** The first line of the units that we install. */
const mark = "# Installed by 'warren cluster init'";

/** Whether systemd runs this machine (sd_booted(3)). */
export function hasSystemd(): boolean {
  return existsSync("/run/systemd/system");
}

export function unitName(name: DaemonName): string {
  return `warren-${name}.service`;
}

/** The text of a daemon's unit. @param program the words that run `warren` */
export function unitText(name: DaemonName, program: readonly string[]): string {
  const template = readFileSync(join(packageDirectory(), "units", unitName(name)), "utf8");
  return template.replace("@WARREN@", () => program.map(unitWord).join(" "));
}

/** Of this package, from wherever the bundler put this file. */
function packageDirectory(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, "units"))) {
    const above = dirname(directory);
    assert(above !== directory, "the package has its units");
    directory = above;
  }
  return directory;
}

/** A word as ExecStart reads it. */
function unitWord(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /[\s"'\\;]/.test(word) ? `"${escaped.replaceAll(/["\\]/g, String.raw`\$&`)}"` : escaped;
}

/** Where a unit's daemon keeps what it has, by the last ExecStart of its files. Undefined of none. */
export function foldersOfUnit(text: string): Folders | undefined {
  const commands = [...text.matchAll(/^ExecStart=(.+)$/gm)].map(([, command = ""]) => command);
  const words = splitWords(commands.at(-1) ?? "");
  if (words.length === 0) return undefined;
  const valueOf = (flag: string): string | undefined => {
    const at = words.findIndex((word) => word === flag || word.startsWith(`${flag}=`));
    return at === -1 ? undefined : (words[at]?.split("=")[1] ?? words[at + 1]);
  };
  return {
    dataDir: valueOf("--data-dir") ?? defaultFolders.dataDir,
    runDir: valueOf("--run-dir") ?? defaultFolders.runDir,
  };
}

/**
 * The unit that runs a daemon on these directories; undefined where it is to be a process of its own: without systemd, or
 * where the unit's directories are others.
 *
 * @param install makes it where there is none and the directories are the machine's own, and brings ours up to date
 */
export async function unitFor(
  name: DaemonName,
  folders: Folders,
  install?: { readonly program: readonly string[] },
): Promise<string | undefined> {
  if (!hasSystemd()) return undefined;
  const unit = unitName(name);
  const known = await unitFiles(unit);
  if (known !== undefined && !sameFolders(foldersOfUnit(known), folders)) return undefined;
  if (install === undefined) return known === undefined ? undefined : unit;
  if (known === undefined && !sameFolders(defaultFolders, folders)) return undefined;
  const path = join(unitDirectory, unit);
  const text = unitText(name, install.program);
  const isOurs = existsSync(path) && isInstalled(path);
  if (known === undefined || (isOurs && readFileSync(path, "utf8") !== text)) {
    writeFileSync(path, text, { mode: 0o644 });
    await systemctl(["daemon-reload"]);
  }
  return unit;
}

/** Ends a unit for good, and takes its file away if it is one that we installed. */
export async function removeUnit(unit: string): Promise<void> {
  await systemctl(["disable", "--now", unit]);
  const path = join(unitDirectory, unit);
  if (!existsSync(path) || !isInstalled(path)) return;
  rmSync(path);
  await systemctl(["daemon-reload"]);
}

function isInstalled(path: string): boolean {
  return readFileSync(path, "utf8").startsWith(mark);
}

function sameFolders(a: Folders | undefined, b: Folders): boolean {
  return a !== undefined && a.dataDir === b.dataDir && a.runDir === b.runDir;
}

/** All of a unit's files, one after the other; undefined where systemd knows none. */
async function unitFiles(unit: string): Promise<string | undefined> {
  const child = spawn("systemctl", ["cat", unit], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.on("data", (data: Buffer) => (text += data.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return code === 0 ? text : undefined;
}

export async function systemctl(args: readonly string[]): Promise<void> {
  const child = spawn("systemctl", args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (data: Buffer) => (said += data.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  if (code === 0) return;
  const unit = args.findLast((word) => word.endsWith(".service"));
  const remedy = unit === undefined ? "" : `; see journalctl -u ${unit}`;
  throw new CommandFailed(`systemctl ${args.join(" ")} failed: ${said.trim()}${remedy}`);
}
