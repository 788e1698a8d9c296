import { appendFileSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogLine, LogOptions } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ContainerLog } from "../src/container-log.ts";

let directory: string;
let log: ContainerLog;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "warren-log-"));
  log = new ContainerLog(directory);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const stamp = (second: number): string =>
  new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString().replace("Z", "123456Z");
const record = (n: number): string => `${stamp(n)} stdout F ${n}\n`;

function write(file: number, from: number, to: number): void {
  for (let n = from; n <= to; n += 1) appendFileSync(join(directory, `${file}.log`), record(n));
}

async function read(options: LogOptions = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of log.read(options)) lines.push(line);
  return lines;
}
const numbers = (lines: readonly LogLine[]): number[] => lines.map(({ line }) => Number(Buffer.from(line).toString()));
const upTo = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test("a record is read to the nanosecond's last figure that a number holds; what is none is passed over", async () => {
  writeFileSync(
    join(directory, "1.log"),
    Buffer.concat([
      Buffer.from("2026-01-02T03:04:05.123456789Z stderr P \xff\0 x\n", "latin1"),
      Buffer.from("torn of\n2026-01-02T03:04:05.123456789Z stdout F \n"),
      Buffer.from("2026-01-02T03:04:05.123456789Z stdout F not yet who"),
    ]),
  );
  const [second, first, ...rest] = await read();
  // What no line feed came after is told last.
  expect(first).toEqual({
    at: expect.closeTo(Date.UTC(2026, 0, 2, 3, 4, 5, 123) + 0.456789, 3),
    stream: "stderr",
    line: Uint8Array.from([0xff, 0, 0x20, 0x78]),
    partial: true,
  });
  expect(second).toMatchObject({ stream: "stdout", line: new Uint8Array(), partial: false });
  expect(rest).toEqual([]);
});

test("what is written while the last lines are read is not of them", async () => {
  write(1, 1, 10);
  const seen: LogLine[] = [];
  for await (const line of log.read({ tail: 4 })) {
    if (seen.push(line) === 1) write(1, 11, 12);
  }
  expect(numbers(seen)).toEqual([7, 8, 9, 10]);
});

test("tail counts over files, whatever their sizes", async () => {
  write(3, 1, 5000);
  write(4, 5001, 5003);
  write(5, 5004, 5004);
  for (const tail of [0, 1, 2, 4, 5, 700, 5004, 6000])
    expect(numbers(await read({ tail }))).toEqual(tail === 0 ? [] : upTo(1, 5004).slice(-tail));
  const since = Date.UTC(2026, 0, 1) + 5000 * 1000;
  expect(numbers(await read({ since }))).toEqual([5000, 5001, 5002, 5003, 5004]);
  expect(numbers(await read({ since, tail: 2 }))).toEqual([5003, 5004]);
});

test("the pieces of a line are put together, whatever the other stream writes meanwhile, and tail counts lines", async () => {
  const piece = (stream: string, kind: "F" | "P", text: string): void =>
    appendFileSync(join(directory, `${text.startsWith("b") ? 2 : 1}.log`), `${stamp(1)} ${stream} ${kind} ${text}\n`);
  piece("stdout", "F", "a1");
  piece("stderr", "P", "a2");
  piece("stdout", "P", "a3");
  piece("stdout", "F", "a4");
  piece("stderr", "P", "b5");
  piece("stdout", "F", "b6");
  piece("stderr", "F", "b7");
  piece("stdout", "P", "b8");
  const shown = async (options: LogOptions): Promise<string[]> =>
    (await read(options)).map(
      (l) => `${l.stream === "stderr" ? "!" : ""}${Buffer.from(l.line).toString()}${l.partial ? "…" : ""}`,
    );
  const all = ["a1", "a3a4", "b6", "!a2b5b7", "b8…"];
  expect(await shown({})).toEqual(all);
  for (let tail = 0; tail <= 6; tail += 1)
    expect(await shown({ tail }), String(tail)).toEqual(tail === 0 ? [] : all.slice(-tail));
});

test("a line of any length is told in pieces of a bounded size, and counts once", async () => {
  const piece = "x".repeat(16 * 1024);
  appendFileSync(join(directory, "1.log"), record(1));
  for (let i = 0; i < 40; i += 1) appendFileSync(join(directory, "1.log"), `${stamp(2)} stdout P ${piece}\n`);
  appendFileSync(join(directory, "1.log"), `${stamp(2)} stdout F end\n${record(3)}`);
  for (const tail of [undefined, 3]) {
    const lines = await read(tail === undefined ? {} : { tail });
    expect(lines.map(({ line, partial }) => [line.length, partial])).toEqual([
      [1, false],
      [256 * 1024, true],
      [256 * 1024, true],
      [128 * 1024 + 3, false],
      [1, false],
    ]);
  }
  expect((await read({ tail: 2 })).map(({ line }) => line.length)).toEqual([256 * 1024, 256 * 1024, 128 * 1024 + 3, 1]);
  expect((await read({ tail: 1 })).map(({ line }) => line.length)).toEqual([1]);
});

test("a follower goes on from file to file, past one that is rotated away, and ends with the logger", async () => {
  // A logger is told by its command line, which this process has not; so one that has.
  const { spawn } = await import("node:child_process");
  const logger = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)", directory]);
  try {
    writeFileSync(join(directory, "logger"), String(logger.pid));
    write(1, 1, 3);
    const seen: number[] = [];
    const following = (async (): Promise<void> => {
      for await (const line of log.read({ follow: true })) seen.push(...numbers([line]));
    })();
    await until("it has caught up", () => seen.length === 3);
    appendFileSync(join(directory, "1.log"), record(4).slice(0, 10));
    appendFileSync(join(directory, "1.log"), record(4).slice(10));
    await until("a record in two pieces came", () => seen.length === 4);
    write(2, 5, 6);
    unlinkSync(join(directory, "1.log"));
    write(3, 7, 7);
    await until("it went on", () => seen.length === 7);
    unlinkSync(join(directory, "logger"));
    await following;
    expect(seen).toEqual(upTo(1, 7));
  } finally {
    logger.kill("SIGKILL");
  }
});

test("a follower ends with its signal, with the directory, and where the logger was killed", async () => {
  writeFileSync(join(directory, "logger"), "999999999");
  write(1, 1, 2);
  expect(numbers(await read({ follow: true }))).toEqual([1, 2]);
  unlinkSync(join(directory, "logger"));
  unlinkSync(join(directory, "1.log"));
  const abort = new AbortController();
  const first = read({ follow: true, signal: abort.signal });
  const second = read({ follow: true });
  await new Promise(setImmediate);
  abort.abort();
  expect(await first).toEqual([]);
  rmSync(directory, { recursive: true });
  expect(await second).toEqual([]);
  expect(await read({ follow: true })).toEqual([]);
  await log.settled(new AbortController().signal);
});

test("the logger is asked for by what a shim passes on", () => {
  const uri = new URL(log.uri("/opt/logger", { tty: true, log: { fileBytes: 5000, files: 7 } }));
  expect(uri.pathname).toBe("/opt/logger");
  expect(Object.fromEntries(uri.searchParams)).toEqual({ directory, "file-bytes": "5000", files: "7", tty: "1" });
});
