import { isIP } from "node:net";
import { Flags } from "@oclif/core";
import { parseHostPort } from "@warren/std";
import { readFlagFile } from "../flag-file.ts";
import { folderFlags, foldersOf } from "../folders.ts";
import { parseKeyValue } from "../service/flag-syntax.ts";
import { parseDuration, UnitError } from "../units.ts";
import { WarrenCommand } from "../warren-command.ts";

const daemonFlags = {
  ...folderFlags,
  "log-level": Flags.option({
    options: ["debug", "info", "warn", "error"] as const,
    description: "Log messages of this level and above",
    default: "info" as const,
  })(),
};

/**
 * A flag's parser. Here, and not where the value is used: `cluster init` refuses with it what the daemon would not start
 * with, before anything is stored.
 */
function checked(check: (text: string) => unknown): (text: string) => Promise<string> {
  return async (text) => {
    check(text);
    return text;
  };
}

/** @throws UnitError */
function checkListenAddress(text: string): void {
  if (text === "off" || parseHostPort(text) !== undefined) return;
  throw new UnitError(`'${text}' is not an address to listen on: give for example 127.0.0.1:9090, or off`);
}

/** @throws UnitError */
function checkNameServer(text: string): void {
  const host = parseHostPort(text)?.host ?? text;
  if (isIP(host.replace(/^\[(.*)\]$/, "$1")) === 0)
    throw new UnitError(`'${text}' is not a name server: give its address, such as 192.0.2.1 or [2001:db8::1]:53`);
}

/** @throws UnitError */
function checkMirror(text: string): void {
  const [registry, place] = parseKeyValue(text);
  const fault = (why: string): UnitError =>
    new UnitError(`'${text}': ${why}: give for example docker.io=https://mirror.example`);
  if (registry === "") throw fault("it names no registry");
  const url = URL.parse(/^https?:\/\//.test(place) ? place : `https://${place}`);
  if (url === null || url.hostname === "") throw fault("the mirror is not a URL or HOST[:PORT]");
  const isLoopback = url.hostname === "localhost" || url.hostname === "[::1]" || url.hostname.startsWith("127.");
  if (url.protocol === "http:" && !isLoopback) throw fault("plain HTTP is for this machine's own address alone");
}

/** A daemon has no manager to speak to as the command line has. */
abstract class DaemonCommand extends WarrenCommand {
  static override baseFlags: typeof WarrenCommand.baseFlags = {} as typeof WarrenCommand.baseFlags;
}

interface Parsed<F> {
  readonly flags: F;
  readonly metadata: { readonly flags: Readonly<Record<string, { readonly setFromDefault?: boolean } | undefined>> };
}

/** The flags of the command line and, where it leaves one out, of the daemon's flag file. */
function withFlagFile<F extends object>(given: Parsed<F>, file: Parsed<F>): F {
  const said = ({ metadata }: Parsed<F>, flag: string): boolean => metadata.flags[flag]?.setFromDefault !== true;
  const fromFile = Object.entries(file.flags).filter(
    ([flag]) => said(file, flag) && !(flag in given.flags && said(given, flag)),
  );
  return { ...given.flags, ...Object.fromEntries(fromFile) };
}

export class ManagerCommand extends DaemonCommand {
  static override summary = "Run this machine's manager in the foreground.";
  static override flags = {
    ...daemonFlags,
    "metrics-addr": Flags.string({
      description: "Address to serve /metrics, /healthz and /readyz on, or off",
      helpValue: "ADDRESS:PORT",
      parse: checked(checkListenAddress),
      default: "127.0.0.1:9090",
    }),
  };

  async run(): Promise<void> {
    const given = await this.parse(ManagerCommand);
    const folders = foldersOf(given.flags);
    const flags = withFlagFile(given, await this.parse(ManagerCommand, readFlagFile("manager", folders)));
    const { runManager } = await import("@warren/manager");
    await runManager({
      ...folders,
      logLevel: flags["log-level"],
      version: this.config.version,
      ...(flags["metrics-addr"] === "off" ? {} : { metricsAddress: flags["metrics-addr"] }),
    });
  }
}

export class WorkerCommand extends DaemonCommand {
  static override summary = "Run this machine's worker in the foreground.";
  static override flags = {
    ...daemonFlags,
    "metrics-addr": Flags.string({
      description: "Address to serve /metrics, /healthz and /readyz on, or off",
      helpValue: "ADDRESS:PORT",
      parse: checked(checkListenAddress),
      default: "127.0.0.1:9091",
    }),
    manager: Flags.string({
      description: "Socket of the manager (default: manager.sock in the run dir)",
      helpValue: "PATH",
    }),
    containerd: Flags.string({
      description: "Socket of containerd; where none answers, the worker runs a containerd of its own",
      helpValue: "PATH",
      default: "/run/containerd/containerd.sock",
    }),
    "containerd-namespace": Flags.string({
      description: "Namespace in containerd, which no other worker may use",
      helpValue: "NAME",
      default: "warren",
    }),
    "registry-mirror": Flags.string({
      description: "Mirror to ask before the registry itself",
      helpValue: "REGISTRY=URL",
      parse: checked(checkMirror),
      multiple: true,
      multipleNonGreedy: true,
    }),
    "image-grace": Flags.string({
      description: "Time after which an unused image is removed",
      helpValue: "DURATION",
      parse: checked(parseDuration),
      default: "1h",
    }),
    "log-grace": Flags.string({
      description: "Time for which the log of a task that left the node is kept, and with it its container and image",
      helpValue: "DURATION",
      parse: checked(parseDuration),
      default: "1h",
    }),
    "dns-upstream": Flags.string({
      description: "Name server for names that are not of this cluster (default: those of /etc/resolv.conf)",
      helpValue: "ADDRESS",
      parse: checked(checkNameServer),
      multiple: true,
      multipleNonGreedy: true,
    }),
  };

  async run(): Promise<void> {
    const given = await this.parse(WorkerCommand);
    const folders = foldersOf(given.flags);
    const flags = withFlagFile(given, await this.parse(WorkerCommand, readFlagFile("worker", folders)));
    const { runWorker } = await import("@warren/worker");
    await runWorker({
      ...folders,
      logLevel: flags["log-level"],
      version: this.config.version,
      managerSocket: flags.manager ?? `${folders.runDir}/manager.sock`,
      containerdSocket: flags.containerd,
      containerdNamespace: flags["containerd-namespace"],
      mirrors: parseMirrors(flags["registry-mirror"] ?? []),
      imageGraceMs: parseDuration(flags["image-grace"]),
      logGraceMs: parseDuration(flags["log-grace"]),
      ...(flags["dns-upstream"] === undefined ? {} : { dnsUpstreams: flags["dns-upstream"] }),
      ...(flags["metrics-addr"] === "off" ? {} : { metricsAddress: flags["metrics-addr"] }),
    });
  }
}

/** A registry may have several, asked in the order given. */
function parseMirrors(texts: readonly string[]): Record<string, string[]> {
  const mirrors: Record<string, string[]> = {};
  for (const [registry, url] of texts.map(parseKeyValue)) (mirrors[registry] ??= []).push(url);
  return mirrors;
}
