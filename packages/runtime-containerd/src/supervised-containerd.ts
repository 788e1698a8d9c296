import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, constants, mkdir, open, readFile, rename, stat, writeFile } from "node:fs/promises";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect } from "node:net";
import { delimiter, dirname, join } from "node:path";
import {
  Backoff,
  TaskGroup,
  delay,
  errorText,
  logFailures,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Random,
} from "@warren/std";
import { RuntimeError } from "@warren/runtime";
import { Connection, unless } from "./connection.ts";
import { lacksMetadata, removeOldAsides, saysDamage, setAside } from "./containerd-damage.ts";
import { ContainersService } from "./generated/containerd/containers.ts";
import { SnapshotsService } from "./generated/containerd/snapshots.ts";
import { defaultSystemAddress } from "./options.ts";

export interface SuperviseDependencies {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
}

export interface SuperviseOptions {
  /** The machine's containerd, which is used if it answers. @default "/run/containerd/containerd.sock" */
  readonly systemAddress?: string;
  /** The program for one of our own: a path or a name to look for. @default "containerd" */
  readonly program?: string;
  /** Where one of our own keeps images, layers and its log; on disk. @default "/var/lib/warren/containerd" */
  readonly dataDir?: string;
  /** Where its socket and state are; on a tmpfs. @default "/run/warren/containerd" */
  readonly runDir?: string;
  /** Ends one of our own with us. Its containers go on all the same, and the next one finds them. @default false */
  readonly endWithUs?: boolean;
}

export interface SupervisedContainerd extends AsyncDisposable {
  /** For `connectContainerd`. */
  readonly address: string;
  /** Whether it is one of our own, which is started again when it ends. */
  readonly own: boolean;
  /** Ends supervising, and what is supervised if `endWithUs` said so. */
  close(): Promise<void>;
}

/** Longest that containerd may take to listen, ms: it reads all that it has first. */
const startMs = 60_000;
/** One that lived this long was well, ms: the next start is not made to wait. */
const wellMs = 60_000;
/** How often one that is starting is asked, ms. */
const retryMs = 10;
const logBytes = 10 * 1024 * 1024;
/** As much of its log is read as it writes until it fails. */
const loggedBytes = 256 * 1024;

/**
 * Finds a containerd, or starts one and keeps it running.
 *
 * S1 A worker that has begun with one of its own stays with it, since its containers are there, whatever else is
 *    installed later; else the machine's is taken if it answers.
 * S2 One of our own outlives us: it is started in a session of its own, and the next worker finds it by its socket.
 *
 * S3 What our own keeps can be had again, so a damaged root is set aside and never a reason not to begin.
 *
 * @throws RuntimeError `RUNTIME_UNAVAILABLE` where none answers and there is no program, or it does not come up
 */
export async function superviseContainerd(
  { clock = systemClock, random = systemRandom, log = silentLogger }: SuperviseDependencies = {},
  options: SuperviseOptions = {},
): Promise<SupervisedContainerd> {
  const { systemAddress = defaultSystemAddress, dataDir = "/var/lib/warren/containerd" } = options;
  const ours = await exists(join(dataDir, "root"));
  if (!ours && (await answers(systemAddress))) {
    const close = (): Promise<void> => Promise.resolve();
    return { address: systemAddress, own: false, close, [Symbol.asyncDispose]: close };
  }
  const program = await find(options.program ?? "containerd");
  if (program === undefined)
    throw new RuntimeError(
      { code: "RUNTIME_UNAVAILABLE" },
      `no containerd answers at ${systemAddress}, and there is no program "${options.program ?? "containerd"}": install containerd`,
    );
  const logger = log.child({ component: "containerd-supervisor" });
  const daemon = new Daemon(program, dataDir, options.runDir ?? "/run/warren/containerd", clock, logger);
  const tasks = new TaskGroup(logFailures(logger));
  try {
    await daemon.ensure(tasks.signal);
  } catch (error) {
    await tasks.close();
    throw error;
  }
  tasks.run("supervise containerd", async (signal) => {
    const backoff = new Backoff(random);
    while (!signal.aborted) {
      const since = clock.monotonic();
      await daemon.ended(signal);
      if (signal.aborted) return;
      if (clock.monotonic() - since > wellMs) backoff.reset();
      const waitMs = backoff.next();
      logger.warn("containerd ended and is started again", { waitMs, log: daemon.logPath });
      await delay(clock, waitMs, signal).catch(() => undefined);
      await daemon.ensure(signal).catch((error: unknown) => {
        if (!signal.aborted) logger.error("containerd does not start", { error });
      });
    }
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closing ??= (async (): Promise<void> => {
      await tasks.close();
      if (options.endWithUs) await daemon.end();
    })());
  return { address: daemon.address, own: true, close, [Symbol.asyncDispose]: close };
}

/** One containerd on directories of its own. */
class Daemon {
  readonly address: string;
  readonly logPath: string;
  readonly #program: string;
  readonly #dataDir: string;
  readonly #runDir: string;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(program: string, dataDir: string, runDir: string, clock: Clock, log: Logger) {
    this.#program = program;
    this.#dataDir = dataDir;
    this.#runDir = runDir;
    this.#clock = clock;
    this.#log = log;
    this.address = join(runDir, "containerd.sock");
    this.logPath = join(dataDir, "containerd.log");
  }

  /** Resolves when it serves; starts it where none does, on a new root where its own is damaged. */
  async ensure(signal: AbortSignal): Promise<void> {
    if (await answers(this.address)) {
      if ((await faultOf(this.address)) === undefined) return;
      await this.end();
    }
    await mkdir(this.#runDir, { recursive: true, mode: 0o711 });
    await mkdir(join(this.#dataDir, "root"), { recursive: true, mode: 0o711 });
    await removeOldAsides(this.#dataDir);
    if (await lacksMetadata(join(this.#dataDir, "root"))) await this.#startAnew("its database is gone");
    const begin = await this.#logSize();
    try {
      await this.#begin(signal);
    } catch (error) {
      if (signal.aborted || !saysDamage(await this.#logSince(begin), errorText(error))) throw error;
      await this.end();
      await this.#startAnew(errorText(error));
      await this.#begin(signal);
    }
  }

  /** Starts it and resolves when it serves. */
  async #begin(signal: AbortSignal): Promise<void> {
    const started = await this.#start();
    const deadline = this.#clock.monotonic() + startMs;
    while (!(await answers(this.address))) {
      if (started.end !== undefined) throw this.#failed(`ended with ${started.end}`);
      if (this.#clock.monotonic() > deadline) throw this.#failed(`does not listen after ${startMs} ms`);
      // There is no event of a socket that is listened on from now on.
      await delay(this.#clock, retryMs, signal);
    }
    // It listens without what it could not load.
    const fault = await faultOf(this.address);
    if (fault !== undefined) throw this.#failed(`listens, and serves no containers: ${fault.message}`);
  }

  async #startAnew(why: string): Promise<void> {
    const path = await setAside(this.#dataDir);
    this.#log.error("containerd's data is damaged: it was set aside, and images are fetched again", { why, path });
    await mkdir(join(this.#dataDir, "root"), { recursive: true, mode: 0o711 });
  }

  async #logSize(): Promise<number> {
    return (await stat(this.logPath).catch(() => undefined))?.size ?? 0;
  }

  /** What it wrote since then, the beginning of it. */
  async #logSince(offset: number): Promise<string> {
    const size = await this.#logSize();
    // Turned over meanwhile.
    const from = size < offset ? 0 : offset;
    const log = await open(this.logPath, "r");
    try {
      const { buffer, bytesRead } = await log.read(Buffer.alloc(loggedBytes), 0, loggedBytes, from);
      return buffer.subarray(0, bytesRead).toString();
    } finally {
      await log.close();
    }
  }

  /** Resolves when it no longer answers, or `signal` aborts. */
  async ended(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // It closes a session for reasons of its own too; one that answers again has not ended.
      const session = await reach(this.address);
      if (session === undefined) return;
      const close = (): void => session.destroy();
      signal.addEventListener("abort", close, { once: true });
      // Not `once`, which takes the error that a killed one's session ends with for a failure.
      if (!signal.aborted && !session.closed) await new Promise<void>((resolve) => session.once("close", resolve));
      signal.removeEventListener("abort", close);
      session.destroy();
    }
  }

  async end(): Promise<void> {
    const pid = await this.#pid();
    if (pid === undefined) return;
    const gone = this.ended(AbortSignal.timeout(startMs));
    process.kill(pid, "SIGTERM");
    await gone;
  }

  /** Gives how it ended, once it has. */
  async #start(): Promise<{ end: number | string | undefined }> {
    const config = join(this.#runDir, "config.toml");
    await writeFile(config, this.#config());
    const size = (await stat(this.logPath).catch(() => undefined))?.size ?? 0;
    if (size > logBytes) await rename(this.logPath, `${this.logPath}.1`);
    const log = await open(this.logPath, "a", 0o640);
    try {
      const child = spawn(this.#program, ["--config", config, "--log-level", "warn"], {
        detached: true, // S2
        stdio: ["ignore", log.fd, log.fd],
        // It looks for its shim and runc by name.
        env: {
          ...process.env,
          PATH: [dirname(this.#program), process.env["PATH"], "/usr/sbin", "/sbin"].join(delimiter),
        },
      });
      const started: { end: number | string | undefined } = { end: undefined };
      child.once("error", (error) => (started.end = error.message));
      child.once("exit", (code, signal) => (started.end = code ?? signal ?? "no code"));
      child.unref();
      if (child.pid !== undefined) await writeFile(join(this.#runDir, "containerd.pid"), String(child.pid));
      return started;
    } finally {
      await log.close();
    }
  }

  #config(): string {
    const text = (value: string): string => JSON.stringify(value);
    return [
      "version = 2",
      `root = ${text(join(this.#dataDir, "root"))}`,
      `state = ${text(join(this.#runDir, "state"))}`,
      // As Docker's: the kernel ends anything else first. Containers have their own score.
      "oom_score = -999",
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      "[grpc]",
      `address = ${text(this.address)}`,
      "",
    ].join("\n");
  }

  /** Of the one that listens, ours or an earlier worker's. */
  async #pid(): Promise<number | undefined> {
    const pid = await readFile(join(this.#runDir, "containerd.pid"), "utf8").catch(() => undefined);
    if (pid === undefined) return undefined;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return command.split("\0").includes(join(this.#runDir, "config.toml")) ? Number(pid) : undefined;
  }

  #failed(how: string): RuntimeError {
    return new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, `${this.#program} ${how}; its log is ${this.logPath}`);
  }
}

/**
 * A session that says what it is, or undefined where nobody listens. A bare connection would not do: gRPC servers wait
 * for its first word when they end, for two minutes.
 */
async function reach(path: string): Promise<ClientHttp2Session | undefined> {
  const session = connectHttp2("http://localhost", { createConnection: () => connect({ path }) });
  try {
    await once(session, "connect");
    // What ends it later is its close.
    session.on("error", () => undefined);
    return session;
  } catch {
    session.destroy();
    return undefined;
  }
}

async function answers(path: string): Promise<boolean> {
  const session = await reach(path);
  session?.destroy();
  return session !== undefined;
}

/**
 * What keeps it from serving containers; undefined where nothing does. One whose databases are damaged listens all the
 * same, and looks at that of its layers only when it makes one.
 */
async function faultOf(address: string): Promise<RuntimeError | undefined> {
  const connection = new Connection(address, "warren");
  const probe = { snapshotter: "overlayfs", key: "warren-probe" };
  try {
    await connection.unary(ContainersService.list, { filters: [] });
    const made = connection.unary(SnapshotsService.prepare, { ...probe, parent: "", labels: {} });
    await unless(made, "RUNTIME_ALREADY_EXISTS");
    // Nothing refers to it, so it may be collected meanwhile.
    await unless(connection.unary(SnapshotsService.remove, probe), "RUNTIME_NOT_FOUND");
    return undefined;
  } catch (error) {
    if (RuntimeError.is(error)) return error;
    throw error;
  } finally {
    connection.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** A program by path, or by name as a shell finds it. */
async function find(program: string): Promise<string | undefined> {
  const places = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/bin", "/usr/bin", "/usr/sbin"];
  const candidates = program.includes("/") ? [program] : places.map((place) => join(place, program));
  for (const candidate of candidates) {
    const runs = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return candidate;
  }
  return undefined;
}
