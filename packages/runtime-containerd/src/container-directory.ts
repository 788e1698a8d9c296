import { execFile } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ContainerSpec } from "@warren/runtime";
import { hostnameOf, type Surroundings } from "./oci-spec.ts";

const run = promisify(execFile);

/** What a container has beside containerd's records: a directory with its three files and its network namespace. */
export class ContainerDirectory {
  readonly path: string;

  constructor(runDir: string, id: string) {
    this.path = join(runDir, "containers", id);
  }

  get netnsPath(): string {
    return join(this.path, "netns");
  }

  async make(spec: ContainerSpec): Promise<Surroundings["files"]> {
    await mkdir(this.path, { recursive: true, mode: 0o711 });
    const files = { "/etc/hosts": "hosts", "/etc/hostname": "hostname", "/etc/resolv.conf": "resolv.conf" } as const;
    const text = {
      "/etc/hosts": hosts(spec),
      "/etc/hostname": `${hostnameOf(spec)}\n`,
      "/etc/resolv.conf": resolvConf(spec),
    };
    const paths = {} as Record<keyof typeof files, string>;
    for (const target of Object.keys(files) as (keyof typeof files)[]) {
      paths[target] = join(this.path, files[target]);
      await writeFile(paths[target], text[target], { mode: 0o644 });
    }
    await writeFile(this.netnsPath, "");
    // The namespace lives by its mount, with no process in it; loopback is brought up as a container expects.
    await run("unshare", [`--net=${this.netnsPath}`, "ip", "link", "set", "lo", "up"]);
    return paths;
  }

  async remove(): Promise<void> {
    await run("umount", ["-q", this.netnsPath]).catch((error: { code?: number }) => {
      // 32: it is not mounted, which is what is wanted.
      if (error.code !== 32) throw error;
    });
    await rm(this.path, { recursive: true, force: true });
  }
}

function hosts(spec: ContainerSpec): string {
  const extra = Object.entries(spec.extraHosts ?? {}).map(([name, address]) => `${address}\t${name}\n`);
  return `127.0.0.1\tlocalhost ${hostnameOf(spec)}\n::1\tlocalhost\n${extra.join("")}`;
}

function resolvConf({ dns }: ContainerSpec): string {
  const lines = (dns?.servers ?? []).map((server) => `nameserver ${server}\n`);
  if (dns?.search?.length) lines.push(`search ${dns.search.join(" ")}\n`);
  if (dns?.options?.length) lines.push(`options ${dns.options.join(" ")}\n`);
  return lines.join("");
}
