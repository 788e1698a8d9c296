/**
 * Real things to test against, each of its own and gone when closed: a containerd on its own directories and socket
 * (root), a registry on loopback (Debian's docker-registry), and small images pushed to it.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile, copyFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { until } from "@warren/std/testing";

const run = promisify(execFile);

export interface PrivateContainerd extends AsyncDisposable {
  readonly address: string;
  /** Its directories; anything else under here is removed with them. */
  readonly directory: string;
}

/** Starts the containerd that `WARREN_TEST_CONTAINERD` names, else the one of the PATH. */
export async function startPrivateContainerd(): Promise<PrivateContainerd> {
  const directory = await mkdtemp(join(tmpdir(), "warren-containerd-"));
  const address = join(directory, "containerd.sock");
  const config = join(directory, "config.toml");
  await writeFile(
    config,
    `version = 2\nroot = "${directory}/root"\nstate = "${directory}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${address}"\n`,
  );
  const program = process.env["WARREN_TEST_CONTAINERD"] ?? "containerd";
  const child = spawn(program, ["--config", config, "--log-level", "warn"], { stdio: "ignore" });
  await until("containerd listens", () => listens(child, { path: address }));
  return {
    address,
    directory,
    async [Symbol.asyncDispose]() {
      await end(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`, the head of its images' names. */
  readonly host: string;
}

export async function startRegistry(): Promise<TestRegistry> {
  const directory = await mkdtemp(join(tmpdir(), "warren-registry-"));
  const port = await freePort();
  const config = join(directory, "config.yml");
  await writeFile(
    config,
    `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${directory}/data\nhttp:\n  addr: 127.0.0.1:${port}\n`,
  );
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  await until("the registry listens", () => listens(child, { host: "127.0.0.1", port }));
  return {
    host: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await end(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export interface ImageContents {
  /** The image config's `config`: Entrypoint, Cmd, Env, User… */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Path to text, in a layer above busybox's. */
  readonly files?: Readonly<Record<string, string>>;
  /** @default "gzip" */
  readonly compression?: "gzip" | "zstd";
  /** What the index says it is for. @default "amd64", or "arm64" on such a machine */
  readonly architecture?: string;
}

const oci = "application/vnd.oci.image";

/** Makes a two-layer busybox image and pushes it as `HOST/NAME:TAG`; gives that name. */
export async function pushImage(
  registry: TestRegistry,
  nameAndTag: string,
  contents: ImageContents = {},
): Promise<string> {
  const [name = "", tag = "latest"] = nameAndTag.split(":");
  const base = `http://${registry.host}/v2/${name}`;
  const compress = contents.compression === "zstd" ? zstdCompressSync : gzipSync;
  const tars = [await busyboxLayer(), await filesLayer(contents.files ?? {})];
  const layers = tars.map((tar) => descriptor(`${oci}.layer.v1.tar+${contents.compression ?? "gzip"}`, compress(tar)));
  const architecture = contents.architecture ?? (process.arch === "arm64" ? "arm64" : "amd64");
  const image = {
    os: "linux",
    architecture,
    config: contents.config ?? {},
    rootfs: { type: "layers", diff_ids: tars.map(sha256) },
  };
  const config = descriptor(`${oci}.config.v1+json`, Buffer.from(JSON.stringify(image)));
  for (const { digest, bytes } of [config, ...layers]) {
    const opened = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
    const location = new URL(opened.headers.get("location") ?? "", base);
    location.searchParams.set("digest", digest);
    await put(location, bytes, "application/octet-stream");
  }
  const plain = ({ mediaType, digest, size }: Blob): object => ({ mediaType, digest, size });
  const manifest = descriptor(
    `${oci}.manifest.v1+json`,
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: `${oci}.manifest.v1+json`,
        config: plain(config),
        layers: layers.map(plain),
      }),
    ),
  );
  await put(new URL(`${base}/manifests/${manifest.digest}`), manifest.bytes, manifest.mediaType);
  const index = {
    schemaVersion: 2,
    mediaType: `${oci}.index.v1+json`,
    manifests: [{ ...plain(manifest), platform: { os: "linux", architecture } }],
  };
  await put(new URL(`${base}/manifests/${tag}`), Buffer.from(JSON.stringify(index)), index.mediaType);
  return `${registry.host}/${name}:${tag}`;
}

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly bytes: Uint8Array;
}

function descriptor(mediaType: string, bytes: Uint8Array): Blob {
  return { mediaType, digest: sha256(bytes), size: bytes.length, bytes };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

async function put(url: URL, bytes: Uint8Array, type: string): Promise<void> {
  const response = await fetch(url, { method: "PUT", body: Buffer.from(bytes), headers: { "content-type": type } });
  if (!response.ok)
    throw new Error(`the registry answered ${response.status} for ${url.pathname}: ${await response.text()}`);
}

function busyboxLayer(): Promise<Uint8Array> {
  return tarOf(async (root) => {
    for (const directory of ["bin", "etc", "tmp"]) await mkdir(join(root, directory));
    await copyFile("/bin/busybox", join(root, "bin/busybox"));
    const { stdout } = await run("/bin/busybox", ["--list"]);
    for (const applet of stdout.trim().split("\n")) {
      if (applet !== "busybox") await symlink("busybox", join(root, "bin", applet));
    }
    await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\nweb:x:1000:1001:web:/:/bin/sh\n");
    await writeFile(join(root, "etc/group"), "root:x:0:\nweb:x:1001:\nstaff:x:50:web\n");
  });
}

function filesLayer(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  return tarOf(async (root) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(root, path, ".."), { recursive: true });
      await writeFile(join(root, path), text);
    }
  });
}

async function tarOf(fill: (root: string) => Promise<void>): Promise<Uint8Array> {
  const root = await mkdtemp(join(tmpdir(), "warren-layer-"));
  try {
    await mkdir(join(root, "rootfs"));
    await fill(join(root, "rootfs"));
    await run("tar", [
      "--sort=name",
      "--mtime=@0",
      "--owner=0",
      "--group=0",
      "--numeric-owner",
      "-C",
      join(root, "rootfs"),
      "-cf",
      join(root, "layer.tar"),
      ".",
    ]);
    return await readFile(join(root, "layer.tar"));
  } finally {
    await rm(root, { recursive: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function listens(child: ChildProcess, at: { path: string } | { host: string; port: number }): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode} before it listened`);
  const socket = connect(at);
  const up = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return up;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}
