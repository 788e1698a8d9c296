import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pushImage, startRegistry, type ImageContents } from "@warren/runtime-containerd/testing";
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
  const tls = `  tls:
    certificate: ${certificateOf(folder)}
    key: ${key}
`;
  const storage = `storage:
  filesystem:
    rootdirectory: ${storageOf(folder)}
`;
  await writeFile(
    config,
    `version: 0.1
${storage}http:
  addr: ${switchAddress}:5000
${tls}`,
  );
  const serve = `echo ready; exec docker-registry serve ${config} >/dev/null 2>>${join(home, "log")}`;
  return (await startHolder([...enter(network, ["net"]), "sh", "-c", serve], join(home, "log"))).holder;
}

/** Makes a busybox image with these contents in the registry. */
export async function push(folder: string, nameAndTag: string, contents?: ImageContents): Promise<void> {
  // Hosts' registry is in a network of its own: another on loopback, for as long as this takes, writes to its folder.
  await using registry = await startRegistry(undefined, storageOf(folder));
  await pushImage(registry, nameAndTag, contents);
}

function storageOf(folder: string): string {
  return join(folder, "registry/data");
}
