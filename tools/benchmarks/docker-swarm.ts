/** Docker Swarm from Debian's docker.io as a peer: a daemon of its own, in a network namespace of its own. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, open, rm, symlink } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Lab } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";

const run = promisify(execFile);

export interface DockerSwarm extends AsyncDisposable {
  readonly version: string;
  /** Creates a service of sleeping containers on an overlay network; the ms until all have started. Then removes it. */
  converge(replicas: number): Promise<number>;
}

/** Installs docker.io where it is missing; its service is not started. */
export function installDocker(): void {
  if (existsSync("/usr/sbin/dockerd")) return;
  process.stderr.write("bench: installing docker.io (Debian)\n");
  const script = `set -e
    [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; trap 'rm /usr/sbin/policy-rc.d' EXIT; }
    apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io`;
  execFileSync("bash", ["-c", script], { stdio: ["ignore", "ignore", "inherit"] });
}

export async function startDockerSwarm(): Promise<DockerSwarm> {
  installDocker();
  const home = await mkdtemp(join(tmpdir(), "bench-docker-"));
  const socket = join(home, "docker.sock");
  const lab = await Lab.open();
  const host = await lab.host("docker");
  await host.run("ip", ["link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
  await host.run("ip", ["address", "add", "192.0.2.1/24", "dev", "up0"]);
  for (const link of ["up0", "up1"]) await host.run("ip", ["link", "set", link, "up"]);
  const log = await open(join(home, "log"), "w");
  const folders = ["--data-root", join(home, "data"), "--exec-root", join(home, "run"), "-p", join(home, "pid")];
  const daemon = spawn(
    "nsenter",
    [`--net=${host.path}`, "dockerd", ...folders, "-H", `unix://${socket}`, "--bridge=none"],
    {
      stdio: ["ignore", log.fd, log.fd],
    },
  );
  const docker = (...args: string[]): Promise<{ stdout: string }> => run("docker", ["-H", `unix://${socket}`, ...args]);
  await until("dockerd answers", async () => (await docker("version").catch(() => undefined)) !== undefined, 30_000);
  const version = (await docker("version", "--format", "{{.Server.Version}}")).stdout.trim();
  await docker("swarm", "init", "--advertise-addr", "192.0.2.1");
  await docker("network", "create", "--driver", "overlay", "bench");
  await importImage(home, socket);
  let services = 0;
  return {
    version: `Docker Swarm ${version}`,
    async converge(replicas) {
      const name = `s${services++}`;
      await using started = await startedContainers(socket, replicas);
      const begin = performance.now();
      await docker(
        "service",
        "create",
        "--detach",
        "--name",
        name,
        "--replicas",
        String(replicas),
        "--network",
        "bench",
        "bench:1",
        "sleep",
        "1000000",
      );
      const end = await started.all;
      await docker("service", "rm", name);
      await until("the containers are gone", async () => (await docker("ps", "-aq")).stdout === "", 120_000);
      return end - begin;
    },
    async [Symbol.asyncDispose]() {
      await docker("swarm", "leave", "--force");
      daemon.kill("SIGTERM");
      await once(daemon, "exit");
      await log.close();
      await lab[Symbol.asyncDispose]();
      for (const line of (await run("cat", ["/proc/self/mounts"])).stdout.split("\n").toReversed()) {
        const target = line.split(" ")[1] ?? "";
        if (target.startsWith(home)) await run("umount", ["-l", target]);
      }
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function importImage(home: string, socket: string): Promise<void> {
  const root = join(home, "rootfs");
  await mkdir(join(root, "bin"), { recursive: true });
  await cp("/bin/busybox", join(root, "bin/busybox"));
  for (const applet of ["sh", "sleep"]) await symlink("busybox", join(root, "bin", applet));
  await run("bash", ["-c", `tar -C ${root} -c . | docker -H unix://${socket} import - bench:1`]);
}

/** Follows Docker's events: resolves with the time at which the last of `count` containers started. */
async function startedContainers(
  socket: string,
  count: number,
): Promise<{ readonly all: Promise<number> } & AsyncDisposable> {
  const filters = encodeURIComponent(JSON.stringify({ type: ["container"], event: ["start"] }));
  const asked = request({ socketPath: socket, path: `/events?filters=${filters}` });
  const all = Promise.withResolvers<number>();
  const listening = once(asked, "response");
  asked.end();
  // The answer's head comes with the first event on some versions, so the request itself is what is waited for.
  listening.then(
    ([response]) => {
      let seen = 0;
      (response as NodeJS.ReadableStream).on("data", (data: Buffer) => {
        seen += data.toString().split("\n").filter(Boolean).length;
        if (seen >= count) all.resolve(performance.now());
      });
    },
    (error: unknown) => all.reject(error as Error),
  );
  await once(asked, "finish");
  return {
    all: all.promise,
    async [Symbol.asyncDispose]() {
      asked.destroy();
    },
  };
}
