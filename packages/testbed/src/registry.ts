import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer, connect, type AddressInfo } from "node:net";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { pushImage, type ImageContents } from "@warren/runtime-containerd/testing";
import { until } from "@warren/std/testing";
import { enter, output, startHolder, type Holder } from "./namespaces.ts";
import { switchAddress } from "./network-switch.ts";

/** As hosts know it, by their `/etc/hosts`. */
export const registryName = "registry.testbed:5000";

const serveHostname = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www";
/** Its name, and what is in it. */
export const answeringImage = ["whoami:1", { config: { Cmd: ["sh", "-c", serveHostname] } }] as const;

/** PEM file with the registry's certificate, which its own key has signed. */
export function certificateOf(folder: string): string {
  return join(folder, "registry/certificate.pem");
}

/** The registry of all hosts, over TLS, at the switch. */
export async function startSharedRegistry(folder: string, network: Holder): Promise<Holder> {
  const home = join(folder, "registry");
  await mkdir(home, { recursive: true });
  const key = join(home, "key.pem");
  const names = `subjectAltName=DNS:registry.testbed,IP:${switchAddress}`;
  const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
  const files = ["-keyout", key, "-out", certificateOf(folder)];
  await output(["openssl", "req", "-x509", ...made, "-subj", "/CN=registry.testbed", "-addext", names, ...files]);
  const config = join(home, "shared.yml");
  const tls = `  tls:\n    certificate: ${certificateOf(folder)}\n    key: ${key}\n`;
  await writeFile(config, `${configOf(folder, `${switchAddress}:5000`)}${tls}`);
  const serve = `echo ready; exec docker-registry serve ${config} >/dev/null 2>>${join(home, "log")}`;
  return (await startHolder([...enter(network, ["net"]), "sh", "-c", serve], join(home, "log"))).holder;
}

/** Makes a busybox image with these contents in the registry. */
export async function push(folder: string, nameAndTag: string, contents?: ImageContents): Promise<void> {
  // Hosts' registry is in a network of its own: another on loopback, for as long as this takes, writes to its folder.
  const port = await freePort();
  const config = join(folder, `registry/push-${port}.yml`);
  await writeFile(config, configOf(folder, `127.0.0.1:${port}`));
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  const ended = once(child, "exit");
  try {
    await until("the registry listens", () => listens(port));
    const stop = (): Promise<void> => Promise.resolve();
    const registry = { host: `127.0.0.1:${port}`, auth: undefined, [Symbol.asyncDispose]: stop };
    await pushImage(registry, nameAndTag, contents);
  } finally {
    child.kill("SIGKILL");
    await ended;
    await rm(config);
  }
}

function configOf(folder: string, address: string): string {
  const storage = `storage:\n  filesystem:\n    rootdirectory: ${join(folder, "registry/data")}\n`;
  return `version: 0.1\n${storage}http:\n  addr: ${address}\n`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("error", () => resolve(false)).once("connect", () => socket.destroy());
    socket.once("connect", () => resolve(true));
  });
}
