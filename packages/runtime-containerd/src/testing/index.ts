/**
 * Real things to test against, each of its own and gone when closed: a containerd on its own directories and socket
 * (root), a registry on loopback (Debian's docker-registry), and small images pushed to it.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readFile, rm, symlink, writeFile, copyFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { RegistryAuth, Runtime } from "@warren/runtime";
import { freePorts, listens, until } from "@warren/std/testing";
import { connectContainerd } from "../containerd-runtime.ts";
import type { ContainerdDependencies, ContainerdOptions } from "../options.ts";

const run = promisify(execFile);

export interface PrivateContainerd extends AsyncDisposable {
  readonly address: string;
  /** Its directories; anything else under here is removed with them. */
  readonly directory: string;
  readonly pid: number;
  /** Where it writes its log. */
  readonly logPath: string;
  /** Ends it as a crash does; its containers go on. */
  kill(): Promise<void>;
  /** Starts it again on the same directories, after `kill`. */
  restart(): Promise<void>;
}

/**
 * Starts the containerd that `WARREN_TEST_CONTAINERD` names, else the one of the PATH. Shims are looked for beside it.
 *
 * @param directory made and removed with it. @default one under the system's temporary directory
 */
export async function startPrivateContainerd(directory?: string): Promise<PrivateContainerd> {
  const home = directory ?? (await mkdtemp(join(tmpdir(), "warren-containerd-")));
  await mkdir(home, { recursive: true });
  const address = join(home, "containerd.sock");
  const config = join(home, "config.toml");
  const logPath = join(home, "containerd.log");
  await writeFile(
    config,
    `version = 2\nroot = "${home}/root"\nstate = "${home}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${address}"\n`,
  );
  const program = process.env["WARREN_TEST_CONTAINERD"] ?? "containerd";
  const env = { ...process.env, PATH: `${dirname(program)}:${process.env["PATH"]}:/usr/sbin:/sbin` };
  const start = async (): Promise<ChildProcess> => {
    const log = await open(logPath, "a");
    const child = spawn(program, ["--config", config, "--log-level", "warn"], {
      stdio: ["ignore", log.fd, log.fd],
      env: program.includes("/") ? env : process.env,
    });
    await log.close();
    await until("containerd listens", () => isUp(child, { path: address }));
    return child;
  };
  let child = await start();
  return {
    address,
    directory: home,
    logPath,
    get pid() {
      return child.pid ?? 0;
    },
    async kill() {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
    async restart() {
      child = await start();
    },
    async [Symbol.asyncDispose]() {
      await end(child);
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** A containerd, a registry and what a runtime needs to use them: what a cluster test or a demo stands on. */
export interface RuntimeBed extends AsyncDisposable {
  readonly containerd: PrivateContainerd;
  readonly registry: TestRegistry;
  /** For `connectContainerd`: socket and directories, all the bed's own. */
  readonly options: ContainerdOptions &
    Readonly<Record<"address" | "namespace" | "runDir" | "dataDir" | "cgroupParent", string>>;
  open(dependencies?: ContainerdDependencies, more?: ContainerdOptions): Promise<Runtime>;
  /** Pushes a busybox image with these contents; gives its name. */
  push(nameAndTag: string, contents?: ImageContents): Promise<string>;
}

/** Closing it removes all containers, ends both and leaves nothing: no process, mount, namespace, cgroup or file. */
export async function startRuntimeBed(): Promise<RuntimeBed> {
  const [containerd, registry] = await Promise.all([startPrivateContainerd(), startRegistry()]);
  const options = {
    address: containerd.address,
    namespace: "warren",
    cgroupParent: `warren-${containerd.pid}`,
    runDir: join(containerd.directory, "run"),
    dataDir: join(containerd.directory, "data"),
  };
  const bed: RuntimeBed = {
    containerd,
    registry,
    options,
    open: (dependencies = {}, more = {}) => connectContainerd(dependencies, { ...options, ...more }),
    push: (nameAndTag, contents) => pushImage(registry, nameAndTag, contents),
    async [Symbol.asyncDispose]() {
      await using runtime = await bed.open();
      await runtime.collectOrphans(new Set());
      await registry[Symbol.asyncDispose]();
      await containerd[Symbol.asyncDispose]();
    },
  };
  return bed;
}

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`, the head of its images' names. */
  readonly host: string;
  readonly auth: RegistryAuth | undefined;
}

/**
 * @param auth the one login that it takes; without one it is open
 * @param storage the folder of what it has, which stays; others may serve it at the same time. @default one that goes with it
 */
export async function startRegistry(auth?: RegistryAuth, storage?: string): Promise<TestRegistry> {
  const directory = await mkdtemp(join(tmpdir(), "warren-registry-"));
  const [port = 0] = await freePorts(1);
  const config = join(directory, "config.yml");
  const passwords = join(directory, "htpasswd");
  if (auth !== undefined) {
    // The registry takes bcrypt alone, which every Debian's perl can do.
    const hash = "print crypt($ARGV[0], '$2y$05$abcdefghijklmnopqrstuu')";
    const { stdout } = await run("perl", ["-e", hash, auth.password]);
    await writeFile(passwords, `${auth.username}:${stdout}\n`);
  }
  await writeFile(
    config,
    `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${storage ?? join(directory, "data")}\nhttp:\n  addr: 127.0.0.1:${port}\n${auth ? `auth:\n  htpasswd:\n    realm: test\n    path: ${passwords}\n` : ""}`,
  );
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  await until("the registry listens", () => isUp(child, { host: "127.0.0.1", port }));
  return {
    host: `127.0.0.1:${port}`,
    auth,
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
  /** More layers above, each of path to text. */
  readonly layers?: readonly Readonly<Record<string, string>>[];
  /** Path to what a symbolic link there names. */
  readonly links?: Readonly<Record<string, string>>;
  /** @default "gzip" */
  readonly compression?: "gzip" | "zstd";
  /** What the index says it is for. @default "amd64", or "arm64" on such a machine */
  readonly architecture?: string;
}

const oci = "application/vnd.oci.image";

/** Makes a busybox image of two layers or more and pushes it as `HOST/NAME:TAG`; gives that name. */
export async function pushImage(
  registry: TestRegistry,
  nameAndTag: string,
  contents: ImageContents = {},
): Promise<string> {
  const [name = "", tag = "latest"] = nameAndTag.split(":");
  const base = `http://${registry.host}/v2/${name}`;
  const { username = "", password = "" } = registry.auth ?? {};
  const login = { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
  const headers: Record<string, string> = registry.auth ? login : {};
  const compress = contents.compression === "zstd" ? zstdCompressSync : gzipSync;
  const more = await Promise.all((contents.layers ?? []).map((files) => filesLayer({ files })));
  const tars = [await busyboxLayer(), await filesLayer(contents), ...more];
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
    const opened = await fetch(`${base}/blobs/uploads/`, { method: "POST", headers });
    const location = new URL(opened.headers.get("location") ?? "", base);
    location.searchParams.set("digest", digest);
    await put(location, bytes, "application/octet-stream", headers);
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
  await put(new URL(`${base}/manifests/${manifest.digest}`), manifest.bytes, manifest.mediaType, headers);
  const index = {
    schemaVersion: 2,
    mediaType: `${oci}.index.v1+json`,
    manifests: [{ ...plain(manifest), platform: { os: "linux", architecture } }],
  };
  await put(new URL(`${base}/manifests/${tag}`), Buffer.from(JSON.stringify(index)), index.mediaType, headers);
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

async function put(url: URL, bytes: Uint8Array, type: string, login: Record<string, string>): Promise<void> {
  const headers = { "content-type": type, ...login };
  const response = await fetch(url, { method: "PUT", body: Buffer.from(bytes), headers });
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

function filesLayer({ files = {}, links = {} }: ImageContents): Promise<Uint8Array> {
  return tarOf(async (root) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(root, path, ".."), { recursive: true });
      await writeFile(join(root, path), text);
    }
    for (const [path, to] of Object.entries(links)) {
      await mkdir(join(root, path, ".."), { recursive: true });
      await symlink(to, join(root, path));
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

/** Whether it listens. @throws Error once it has ended */
async function isUp(child: ChildProcess, at: Parameters<typeof listens>[0]): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode} before it listened`);
  return listens(at);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}
