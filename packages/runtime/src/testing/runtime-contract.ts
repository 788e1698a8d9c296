/** The contract of `Runtime`: cases for any test runner, each of which throws if it fails. */
import { assert, systemBootClock } from "@warren/std";
import { until, type ContractCase } from "@warren/std/testing";
import type { ContainerSpec } from "../container-spec.ts";
import { RuntimeError } from "../errors.ts";
import { parseReference } from "../reference.ts";
import type {
  Connection,
  ContainerEvent,
  ContainerState,
  ExecStreams,
  ExitStatus,
  LogLine,
  Runtime,
} from "../runtime.ts";
import type { Program } from "./program.ts";

/** A machine with a runtime, for one case or many; a case removes its containers and expects none of its ids. */
export interface RuntimeUnderTest {
  /** Opens a runtime on this machine, as a worker does when it starts; the case closes it. */
  open(): Promise<Runtime>;
  /** An image in the registry, with a shell or what `program` needs. */
  readonly image: string;
  /** Another image in the registry, which no container uses. */
  readonly otherImage: string;
  /** An image that the registry answers for and does not have. */
  readonly missingImage: string;
  /** Command and arguments that run a program, in a container of `image` and in an exec. */
  program(program: Program): readonly string[];
}

const memoryLimitBytes = 16 * 1024 * 1024;

/** The runtime of a case, with helpers. */
class Rig implements AsyncDisposable {
  readonly runtime: Runtime;
  readonly subject: RuntimeUnderTest;
  readonly #ids = new Set<string>();

  constructor(runtime: Runtime, subject: RuntimeUnderTest) {
    this.runtime = runtime;
    this.subject = subject;
  }

  async create(id: string, program: Program, more: Partial<ContainerSpec> = {}): Promise<void> {
    this.#ids.add(id);
    await this.runtime.create({ id, image: this.subject.image, command: this.subject.program(program), ...more });
  }

  async start(id: string, program: Program, more: Partial<ContainerSpec> = {}): Promise<void> {
    await this.create(id, program, more);
    await this.runtime.start(id);
  }

  async state(id: string): Promise<ContainerState["kind"] | "none"> {
    return (await this.runtime.list()).find((each) => each.id === id)?.state.kind ?? "none";
  }

  /** Reads a container's output until it has `text`. */
  async saw(id: string, text: string): Promise<void> {
    for await (const { line } of this.runtime.logs(id, { follow: true })) if (decode(line).includes(text)) return;
    throw new Error(`${id} ended without writing "${text}"`);
  }

  async exec(
    id: string,
    program: Program,
    { input, ...more }: { input?: string; env?: Record<string, string> } = {},
  ): Promise<{ exit: ExitStatus; stdout: string; stderr: string }> {
    const stdout = collector();
    const stderr = collector();
    const streams: ExecStreams = {
      stdout: stdout.stream,
      stderr: stderr.stream,
      ...(input !== undefined && { stdin: new Blob([input]).stream() }),
    };
    const process = await this.runtime.exec(id, { args: this.subject.program(program), ...more }, streams);
    return { exit: await process.exit, stdout: stdout.text(), stderr: stderr.text() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of this.#ids) await this.runtime.remove(id);
    await this.runtime.close();
  }
}

function decode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function collector(): { stream: WritableStream<Uint8Array>; text: () => string } {
  const chunks: Uint8Array[] = [];
  const stream = new WritableStream<Uint8Array>({
    write(chunk) {
      chunks.push(Uint8Array.from(chunk));
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (RuntimeError.is(error)) return error.code;
    throw error;
  }
  return "none";
}

async function all(lines: AsyncIterable<LogLine>): Promise<LogLine[]> {
  const read: LogLine[] = [];
  for await (const line of lines) read.push(line);
  return read;
}

const show = (lines: readonly LogLine[]): string =>
  lines.map((l) => `${l.stream === "stderr" ? "!" : ""}${decode(l.line)}${l.partial ? "…" : ""}`).join("|");

async function withRig(subject: RuntimeUnderTest, work: (rig: Rig) => Promise<void>): Promise<void> {
  await using rig = new Rig(await subject.open(), subject);
  await rig.runtime.pull(subject.image);
  await work(rig);
}

const caseOf = (title: string, work: (rig: Rig) => Promise<void>): ContractCase<RuntimeUnderTest> => ({
  title,
  run: (subject) => withRig(subject, work),
});

const lifeCases: readonly ContractCase<RuntimeUnderTest>[] = [
  caseOf("a container is created, runs, ends, and is removed", async (rig) => {
    const { runtime } = rig;
    await rig.create("c-life", [{ do: "run" }], { labels: { task: "t1" } });
    const [status] = (await runtime.list()).filter(({ id }) => id === "c-life");
    assert(status?.state.kind === "created", "it is created and nothing runs");
    assert(status.labels["task"] === "t1" && Object.keys(status.labels).length === 1, "its labels are those given");
    assert(status.netnsPath !== "", "its namespace has a path");
    const before = systemBootClock.bootTime().elapsedMs;
    await runtime.start("c-life");
    const state = (await runtime.list()).find(({ id }) => id === "c-life")?.state;
    assert(state?.kind === "running", "it runs");
    const began = state.startedBootMs;
    const after = systemBootClock.bootTime().elapsedMs;
    // The kernel's clock for both moves in steps of 10 ms.
    assert(
      began !== undefined && began >= before - 20 && began <= after + 20,
      `it began at ${began}, between ${before} and ${after} ms of this boot`,
    );
    await runtime.kill("c-life", "SIGKILL");
    const exit = await runtime.wait("c-life");
    assert(
      exit.code === 137 && !exit.oomKilled && exit.finishedAt > 0,
      `the exit is a kill, not ${JSON.stringify(exit)}`,
    );
    assert((await rig.state("c-life")) === "exited", "it is listed with its end");
    await runtime.kill("c-life");
    await runtime.remove("c-life");
    assert((await rig.state("c-life")) === "none", "it is gone");
    await runtime.remove("c-life");
  }),
  caseOf("wait, list and an event give the same exit code, and events come in order", async (rig) => {
    const abort = new AbortController();
    const events: ContainerEvent[] = [];
    const reading = (async (): Promise<void> => {
      for await (const event of rig.runtime.events(abort.signal)) events.push(event);
    })();
    await until("the stream begins", () => events.length > 0);
    assert(events[0]?.kind === "lost", "lost comes first");
    await rig.start("c-seven", [{ do: "exit", code: 7 }]);
    assert((await rig.runtime.wait("c-seven")).code === 7, "wait resolves with it");
    const [status] = (await rig.runtime.list()).filter(({ id }) => id === "c-seven");
    assert(status?.state.kind === "exited" && status.state.exit.code === 7, "list has it");
    const mine = (): ContainerEvent[] => events.filter((e) => e.kind !== "lost" && e.id === "c-seven");
    await until("the exit is emitted", () => mine().length >= 2);
    const [started, exited] = mine();
    assert(started?.kind === "started" && exited?.kind === "exited", "started, then exited");
    assert(exited.exit.code === 7, "the event has it");
    abort.abort();
    await reading;
  }),
  caseOf("kill sends the stop signal, or the named one, and a program may handle it", async (rig) => {
    await rig.start("c-term", [{ do: "print", text: "ready\n" }, { do: "run" }]);
    await rig.saw("c-term", "ready");
    await rig.runtime.kill("c-term");
    assert((await rig.runtime.wait("c-term")).code === 143, "SIGTERM by default");
    const stubborn: Program = [
      { do: "ignore-term" },
      { do: "print", text: "ready\n" },
      { do: "await", signal: "USR1" },
      { do: "exit", code: 5 },
    ];
    await rig.start("c-stubborn", stubborn, { stopSignal: "USR1" });
    await rig.saw("c-stubborn", "ready");
    await rig.runtime.kill("c-stubborn", "TERM");
    assert((await rig.state("c-stubborn")) === "running", "it ignores SIGTERM");
    await rig.runtime.kill("c-stubborn");
    assert((await rig.runtime.wait("c-stubborn")).code === 5, "its own stop signal ends it");
  }),
  caseOf("a running container is removed with all its processes", async (rig) => {
    await rig.start("c-busy", [{ do: "print", text: "ready\n" }, { do: "run" }]);
    await rig.saw("c-busy", "ready");
    const waiting = rig.runtime.wait("c-busy").catch((error: unknown) => error);
    await rig.runtime.remove("c-busy");
    await waiting;
    assert((await rig.state("c-busy")) === "none", "it is gone");
    await rig.create("c-busy", [{ do: "run" }]);
    assert((await rig.state("c-busy")) === "created", "and its id is free");
  }),
  caseOf("an out-of-memory kill is reported in the exit and as an event", async (rig) => {
    const abort = new AbortController();
    const events: ContainerEvent[] = [];
    const reading = (async (): Promise<void> => {
      for await (const event of rig.runtime.events(abort.signal)) events.push(event);
    })();
    await until("the stream begins", () => events.length > 0);
    await rig.start("c-oom", [{ do: "eat-memory" }], { resources: { memoryLimitBytes } });
    const exit = await rig.runtime.wait("c-oom");
    assert(exit.code === 137 && exit.oomKilled, `the exit says out of memory, not ${JSON.stringify(exit)}`);
    await until("oom and exit are emitted", () => {
      const mine = events.filter((e) => e.kind !== "lost" && e.id === "c-oom").map((e) => e.kind);
      return mine.includes("oom") && mine.includes("exited");
    });
    abort.abort();
    await reading;
  }),
  {
    title:
      "containers outlive a runtime: the next one lists them, waits for them, and knows the exit of those that ended meanwhile",
    async run(subject) {
      const first = new Rig(await subject.open(), subject);
      await first.runtime.pull(subject.image);
      await first.start("c-goes-on", [{ do: "print", text: "before\n" }, { do: "run" }]);
      await first.start("c-ends", [
        { do: "await", signal: "USR1" },
        { do: "exit", code: 9 },
      ]);
      await first.saw("c-goes-on", "before");
      await first.runtime.close();
      await using next = await subject.open();
      const state = async (id: string): Promise<ContainerState | undefined> =>
        (await next.list()).find((each) => each.id === id)?.state;
      assert((await state("c-goes-on"))?.kind === "running", "it still runs");
      await next.kill("c-ends", "USR1");
      await next.wait("c-ends");
      await next.close();
      await using third = await subject.open();
      const ended = (await third.list()).find(({ id }) => id === "c-ends")?.state;
      assert(ended?.kind === "exited" && ended.exit.code === 9, "its exit is kept");
      assert(show(await all(third.logs("c-goes-on"))) === "before", "its output is kept");
      await third.kill("c-goes-on", "KILL");
      assert((await third.wait("c-goes-on")).code === 137, "and it can be ended");
      for (const id of ["c-goes-on", "c-ends"]) await third.remove(id);
    },
  },
];

const refusalCases: readonly ContractCase<RuntimeUnderTest>[] = [
  caseOf("of concurrent creates of one id one succeeds, and its container is complete", async (rig) => {
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, () => rig.create("c-race", [{ do: "print", text: "whole\n" }])),
    );
    const lost = results.flatMap((r) => (r.status === "rejected" ? [r.reason as unknown] : []));
    assert(lost.length === 4, `four of five lose, not ${lost.length}`);
    for (const error of lost) assert(RuntimeError.is(error, "RUNTIME_ALREADY_EXISTS"), "the error says that it exists");
    await rig.runtime.start("c-race");
    assert((await rig.runtime.wait("c-race")).code === 0, "the winner's container runs");
    assert(show(await all(rig.runtime.logs("c-race"))) === "whole", "and writes");
    assert((await code(rig.create("c-race", []))) === "RUNTIME_ALREADY_EXISTS", "a later one loses too");
    assert((await rig.state("c-race")) === "exited", "and changes nothing");
  }),
  caseOf("an impossible call is refused with a code and leaves nothing", async (rig) => {
    const { runtime, subject } = rig;
    const at = async (id: string): Promise<string> => rig.state(id);
    assert((await code(rig.create("c-bad", [], { workingDir: "x" }))) === "RUNTIME_SPEC_INVALID", "a bad field");
    const absent = runtime.create({ id: "c-bad", image: subject.missingImage });
    assert((await code(absent)) === "RUNTIME_IMAGE_NOT_FOUND", "an image that was not pulled");
    assert((await at("c-bad")) === "none", "nothing is left");
    const none = "c-none";
    const calls = [
      runtime.start(none),
      runtime.kill(none),
      runtime.wait(none),
      runtime.stats(none),
      runtime.exec(none, { args: ["true"] }),
      all(runtime.logs(none)),
    ];
    for (const failure of await Promise.all(calls.map(code)))
      assert(failure === "RUNTIME_NOT_FOUND", "no such container");
    await rig.create("c-idle", [{ do: "run" }]);
    const early = [runtime.wait("c-idle"), runtime.stats("c-idle"), runtime.exec("c-idle", { args: ["true"] })];
    for (const failure of await Promise.all(early.map(code)))
      assert(failure === "RUNTIME_WRONG_STATE", "it does not run yet");
    await runtime.kill("c-idle");
    assert((await at("c-idle")) === "created", "a signal to what does not run does nothing");
    await runtime.start("c-idle");
    assert((await code(runtime.start("c-idle"))) === "RUNTIME_WRONG_STATE", "it is started once");
    await runtime.kill("c-idle", "KILL");
    await runtime.wait("c-idle");
    assert((await code(runtime.start("c-idle"))) === "RUNTIME_WRONG_STATE", "and not again");
    assert((await code(runtime.exec("c-idle", { args: ["true"] }))) === "RUNTIME_WRONG_STATE", "it has ended");
  }),
  caseOf("an aborted wait leaves the container alone", async (rig) => {
    await rig.start("c-patient", [{ do: "run" }]);
    const abort = new AbortController();
    const waiting = rig.runtime.wait("c-patient", abort.signal).catch((error: unknown) => error);
    abort.abort(new Error("given up"));
    assert(((await waiting) as Error).message === "given up", "it rejects with the signal's reason");
    assert((await rig.state("c-patient")) === "running", "it runs on");
  }),
  caseOf("orphans are collected, and what is kept is not touched", async (rig) => {
    await rig.start("c-kept", [{ do: "run" }]);
    await rig.start("c-orphan", [{ do: "run" }]);
    await rig.create("c-unborn", [{ do: "run" }]);
    const gone = await rig.runtime.collectOrphans(new Set(["c-kept"]));
    assert([...gone].sort().join() === "c-orphan,c-unborn", `those not named are removed, not ${gone.join()}`);
    assert((await rig.state("c-kept")) === "running", "the other runs on");
    assert((await rig.state("c-orphan")) === "none" && (await rig.state("c-unborn")) === "none", "they are gone");
    assert((await rig.runtime.collectOrphans(new Set(["c-kept"]))).length === 0, "nothing is left to collect");
  }),
];

const ioCases: readonly ContractCase<RuntimeUnderTest>[] = [
  caseOf(
    "logs have the lines of both streams, in order and whole, also without a line feed at the end",
    async (rig) => {
      const steps: Program = [
        { do: "print", text: "one\ntw" },
        { do: "print", text: "o\n\n" },
        { do: "print", text: "bad\n", to: "stderr" },
        { do: "print", text: "rest" },
      ];
      await rig.start("c-logs", steps);
      await rig.runtime.wait("c-logs");
      const lines = await all(rig.runtime.logs("c-logs", { follow: true }));
      const out = show(lines.filter(({ stream }) => stream === "stdout"));
      assert(out === "one|two||rest…", `stdout is read, not ${out}`);
      assert(show(lines.filter(({ stream }) => stream === "stderr")) === "!bad", "stderr is read");
      assert(
        lines.every(({ at }, i) => i === 0 || at >= (lines[i - 1]?.at ?? 0)),
        "times never go back",
      );
      assert(show(await all(rig.runtime.logs("c-logs", { tail: 1 }))) === "rest…", "the last");
      assert((await all(rig.runtime.logs("c-logs", { tail: 0 }))).length === 0, "none");
      assert((await all(rig.runtime.logs("c-logs", { tail: 99 }))).length === lines.length, "all there are");
      const last = lines.at(-1)?.at ?? 0;
      assert((await all(rig.runtime.logs("c-logs", { since: last }))).length > 0, "since is inclusive");
      assert(
        (await all(rig.runtime.logs("c-logs", { since: last + 1000 }))).length === 0,
        "and leaves out the earlier",
      );
    },
  ),
  caseOf("a follower gets later lines, and ends with the container, its removal or its own signal", async (rig) => {
    const steps: Program = [
      { do: "print", text: "first\n" },
      { do: "await", signal: "USR1" },
      { do: "print", text: "second\n" },
      { do: "await", signal: "USR1" },
    ];
    await rig.start("c-follow", steps);
    const seen: string[] = [];
    const reading = (async (): Promise<void> => {
      for await (const { line } of rig.runtime.logs("c-follow", { follow: true })) seen.push(decode(line));
    })();
    const tailing = all(rig.runtime.logs("c-follow", { follow: true, tail: 0 }));
    await until("the first line came", () => seen.length === 1);
    await rig.runtime.kill("c-follow", "USR1");
    await until("the second line came", () => seen.length === 2);
    const abort = new AbortController();
    const aborted = all(rig.runtime.logs("c-follow", { follow: true, signal: abort.signal }));
    abort.abort();
    await aborted;
    await rig.runtime.kill("c-follow", "USR1");
    await reading;
    assert(seen.join() === "first,second", `lines in order, not ${seen.join()}`);
    await tailing;
    await rig.start("c-follow-2", [{ do: "print", text: "here\n" }, { do: "run" }]);
    const cut = all(rig.runtime.logs("c-follow-2", { follow: true }));
    await rig.saw("c-follow-2", "here");
    await rig.runtime.remove("c-follow-2");
    await cut;
  }),
  caseOf("a process beside the first has its own streams, environment and exit code", async (rig) => {
    await rig.start("c-exec", [{ do: "run" }], { env: { OURS: "1" } });
    const steps: Program = [
      { do: "copy" },
      { do: "env", name: "OURS" },
      { do: "env", name: "ITS" },
      { do: "print", text: "oops", to: "stderr" },
      { do: "exit", code: 3 },
    ];
    const { exit, stdout, stderr } = await rig.exec("c-exec", steps, { input: "in\n", env: { ITS: "2" } });
    assert(stdout === "in\nOURS=1\nITS=2\n", `its output comes, not ${JSON.stringify(stdout)}`);
    assert(stderr === "oops" && exit.code === 3, "so do its errors and its code");
    const silent = await rig.exec("c-exec", [{ do: "copy" }]);
    assert(silent.exit.code === 0 && silent.stdout === "", "without input it reads the end at once");
    assert((await rig.state("c-exec")) === "running", "the container is not touched");
    assert(show(await all(rig.runtime.logs("c-exec"))) === "", "nor its log");
  }),
  caseOf("a process beside the first takes signals, and ends with the container", async (rig) => {
    await rig.start("c-exec-2", [{ do: "run" }]);
    const steps: Program = [{ do: "print", text: "ready" }, { do: "run" }];
    const run = async (): Promise<{ exit: Promise<ExitStatus>; signal: (name: string) => Promise<void> }> => {
      const stdout = collector();
      const process = await rig.runtime.exec(
        "c-exec-2",
        { args: rig.subject.program(steps) },
        { stdout: stdout.stream },
      );
      await until("it is ready", () => stdout.text() === "ready");
      return process;
    };
    const first = await run();
    await first.signal("SIGTERM");
    assert((await first.exit).code === 143, "a signal ends it");
    const second = await run();
    await rig.runtime.kill("c-exec-2", "KILL");
    assert((await second.exit).code !== 0, "the container's end is its end");
  }),
  caseOf(
    "a connection reaches a port of the container, carries both directions, and ends with either side",
    async (rig) => {
      const port = 4_711;
      await rig.start("c-port", [{ do: "echo-port", port }, { do: "run" }]);
      const abort = new AbortController();
      const attempt = (): Promise<Connection | undefined> =>
        rig.runtime.connect("c-port", port, abort.signal).catch((error: unknown) => {
          if (RuntimeError.is(error, "RUNTIME_PORT_CLOSED")) return undefined;
          throw error;
        });
      const opened = (): Promise<Connection> => until("it listens", attempt);
      const first = await opened();
      const sent = new Blob([Buffer.alloc(300_000, "x")]).stream().pipeTo(first.writable);
      const back = collector();
      await first.readable.pipeTo(back.stream);
      await sent;
      assert(back.text() === "x".repeat(300_000), "what is sent comes back, and its end with it");
      const second = await opened();
      abort.abort(new Error("given up"));
      await second.readable.cancel().catch(() => undefined);
      assert((await code(rig.runtime.connect("c-port", port + 1))) === "RUNTIME_PORT_CLOSED", "nothing listens there");
      await rig.runtime.remove("c-port");
      await rig.create("c-port-still", [{ do: "run" }]);
      assert((await code(rig.runtime.connect("c-port-still", port))) === "RUNTIME_WRONG_STATE", "it must run");
    },
  ),
  caseOf("a process whose caller aborts is ended, before its start and after", async (rig) => {
    await rig.start("c-given-up", [{ do: "run" }]);
    const args = rig.subject.program([{ do: "print", text: "ready" }, { do: "run" }]);
    const early = AbortSignal.abort(new Error("given up"));
    const refused = await rig.runtime.exec("c-given-up", { args }, {}, early).catch((error: unknown) => error);
    assert((refused as Error).message === "given up", "it is not begun");
    const abort = new AbortController();
    const stdout = collector();
    const process = await rig.runtime.exec("c-given-up", { args }, { stdout: stdout.stream }, abort.signal);
    await until("it is ready", () => stdout.text() === "ready");
    abort.abort(new Error("given up"));
    const ended = await process.exit.catch((error: unknown) => error);
    assert((ended as Error).message === "given up", "exit rejects with the caller's reason");
    assert((await rig.state("c-given-up")) === "running", "the container is not touched");
  }),
  caseOf("a long line is delivered whole and counts once, up to the promised length", async (rig) => {
    const long = "0123456789".repeat(5_000);
    const steps: Program = [
      { do: "print", text: "first\n" },
      { do: "print", text: `${long}\n` },
      { do: "print", text: "last\n" },
    ];
    await rig.start("c-long", steps);
    await rig.runtime.wait("c-long");
    assert(show(await all(rig.runtime.logs("c-long"))) === `first|${long}|last`, "it is one line");
    assert(show(await all(rig.runtime.logs("c-long", { tail: 2 }))) === `${long}|last`, "and counts as one");
  }),
  caseOf("a running container has usage", async (rig) => {
    await rig.start("c-stats", [{ do: "print", text: "up\n" }, { do: "run" }], { resources: { memoryLimitBytes } });
    await rig.saw("c-stats", "up");
    const stats = await rig.runtime.stats("c-stats");
    assert(stats.cpuUsageNs > 0n && stats.memoryBytes > 0 && stats.pids >= 1, "it uses something");
    assert(stats.memoryBytes <= memoryLimitBytes && stats.memoryLimitBytes === memoryLimitBytes, "and has its limit");
  }),
];

const imageCases: readonly ContractCase<RuntimeUnderTest>[] = [
  caseOf("an image is pulled once and listed, and a missing one is refused by code", async ({ runtime, subject }) => {
    const first = await runtime.pull(subject.image);
    assert(first.digest.startsWith("sha256:"), "it has a digest");
    const again = await runtime.pull(subject.image);
    assert(again.ref === first.ref && again.digest === first.digest, "a second pull gives the same");
    assert(
      (await runtime.images()).some(({ ref }) => ref === first.ref),
      "it is listed",
    );
    const missing = await runtime.pull(subject.missingImage).catch((error: unknown) => error);
    assert(
      RuntimeError.is(missing, "RUNTIME_IMAGE_NOT_FOUND") && missing instanceof RuntimeError,
      "none is refused by code",
    );
    assert(missing.retryable, "and may come");
    assert((await code(runtime.pull("No Image"))) === "RUNTIME_REFERENCE_INVALID", "what is no name is refused");
    const given = AbortSignal.abort(new Error("given up"));
    const aborted = await runtime.pull(subject.otherImage, { signal: given }).catch((error: unknown) => error);
    assert((aborted as Error).message === "given up", "a pull that is given up rejects with the reason");
  }),
  caseOf(
    "a reference resolves to a digest, and an image that is pulled by it needs no further request",
    async ({ runtime, subject }) => {
      const resolved = await runtime.resolveImage(subject.image);
      assert(resolved.source.kind === "registry" && resolved.platforms.length > 0, "the registry answers");
      assert(resolved.pinned.endsWith(`@${resolved.digest}`), `the digest is added, not ${resolved.pinned}`);
      assert(resolved.pinned.startsWith(resolved.ref), "and the tag stays");
      assert(resolved.config !== undefined, "its configuration is there");
      const pinned = await runtime.pull(resolved.pinned);
      assert(pinned.digest === resolved.digest && pinned.ref === resolved.pinned, "it is pulled under its own name");
      const again = await runtime.resolveImage(resolved.pinned);
      assert(again.source.kind === "local" && again.digest === resolved.digest, "what is here asks nobody");
      const local = await runtime.inspectImage(resolved.pinned);
      assert(local.digest === resolved.digest, "it is looked at here");
      assert(JSON.stringify(local.config) === JSON.stringify(resolved.config), "with the same configuration");
      assert(local.sizeBytes > 0, "and its size is known");
      await runtime.create({ id: "c-pinned", image: resolved.pinned, command: subject.program([{ do: "run" }]) });
      await runtime.remove("c-pinned");
      assert(
        (await code(runtime.resolveImage(subject.missingImage))) === "RUNTIME_IMAGE_NOT_FOUND",
        "none is refused by code",
      );
      assert((await code(runtime.inspectImage(subject.missingImage))) === "RUNTIME_IMAGE_NOT_FOUND", "nor is one here");
      await runtime.removeUnusedImages(new Set([subject.image]));
      assert((await runtime.pull(resolved.pinned)).source.kind === "local", "the content is here under another name");
      // Here by a tag that the registry never had, as one that has lost it: what is here is used.
      const lost = resolved.ref.replace(/:[^:/]+$/, ":lost");
      await runtime.pull(`${lost}@${resolved.digest}`);
      const found = await runtime.resolveImage(lost);
      assert(found.digest === resolved.digest && found.source.kind === "local", "the tag means what it last meant");
      assert(found.pinned === `${lost}@${resolved.digest}`, `with its digest, not ${found.pinned}`);
      const pulled = await runtime.pull(lost);
      assert(pulled.ref === lost && pulled.digest === resolved.digest, "it is pulled under the tag");
      assert(
        pulled.source.kind === "local" && pulled.source.because !== undefined,
        "and the registry's answer is told",
      );
      await runtime.create({ id: "c-lost", image: lost, command: subject.program([{ do: "run" }]) });
      await runtime.remove("c-lost");
      await runtime.removeUnusedImages(new Set([subject.image]));
    },
  ),
  caseOf("a login is checked at its registry, and what is no registry is refused", async ({ runtime, subject }) => {
    const auth = { username: "me", password: "secret" };
    const { registry } = parseReference(subject.image);
    assert(!(await runtime.checkLogin(registry, auth)), "one that gives to everybody asks for none");
    const wrong = await runtime.checkLogin("not a registry", auth).catch((error: unknown) => error);
    assert(RuntimeError.is(wrong, "RUNTIME_REFERENCE_INVALID"), "a name that can't be a registry's has its code");
    const given = AbortSignal.abort(new Error("given up"));
    const aborted = await runtime.checkLogin(registry, auth, given).catch((error: unknown) => error);
    assert((aborted as Error).message === "given up", "one that is given up rejects with the reason");
  }),
  caseOf("unused images are removed; used and kept ones stay", async (rig) => {
    const { runtime, subject } = rig;
    await runtime.pull(subject.otherImage);
    await rig.start("c-user", [{ do: "run" }]);
    const kept = await runtime.removeUnusedImages(new Set([subject.otherImage]));
    assert(kept.length === 0, "what is used or kept stays");
    const removed = await runtime.removeUnusedImages(new Set());
    assert(removed.length === 1 && (await runtime.images()).length === 1, "the other goes");
    assert((await rig.state("c-user")) === "running", "the container runs on");
    await runtime.pull(subject.otherImage);
    await runtime.removeUnusedImages(new Set());
  }),
];

const lastCases: readonly ContractCase<RuntimeUnderTest>[] = [
  caseOf("a purge leaves no container and no image, and the runtime still works", async (rig) => {
    await rig.start("c-purged", [{ do: "run" }]);
    await rig.runtime.purge();
    assert((await rig.runtime.list()).length === 0, "no container");
    assert((await rig.runtime.images()).length === 0, "no image");
    await rig.runtime.purge();
    await rig.runtime.pull(rig.subject.image);
    await rig.start("c-after", [{ do: "run" }]);
    assert((await rig.state("c-after")) === "running", "it starts anew");
  }),
];

/** Each case runs on a machine where nothing else is created meanwhile. */
export const runtimeContract: readonly ContractCase<RuntimeUnderTest>[] = [
  ...lifeCases,
  ...refusalCases,
  ...ioCases,
  ...imageCases,
  ...lastCases,
];
