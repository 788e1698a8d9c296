import type { ExecOpen } from "@warren/api";
import type { ExecProcess } from "@warren/runtime";
import { mustRun, type Relay, type RelayDependencies, type RelayReceived } from "./relay.ts";
import { abortable } from "@warren/std";
import { within } from "./waiting.ts";

/** From SIGHUP, sent when the caller has gone, to SIGKILL, ms. */
const hangupGraceMs = 5_000;

/** Runs a process in a task's container for a remote caller. `open.ref` is the task's id. */
export async function relayExec(
  dependencies: RelayDependencies,
  open: ExecOpen,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const { runtime, clock } = dependencies;
  const { ref } = open;
  mustRun(dependencies, ref);
  const output = (stream: "stdout" | "stderr"): WritableStream<Uint8Array> =>
    new WritableStream({
      write: (chunk) => relay.send({ $case: "exec", value: { message: { $case: stream, value: Buffer.from(chunk) } } }),
    });
  const stdin = new TransformStream<Uint8Array, Uint8Array>();
  const process = await runtime.exec(
    ref,
    {
      args: open.command,
      env: open.env,
      tty: open.tty,
      ...(open.user !== "" && { user: open.user }),
      ...(open.workingDir !== "" && { workingDir: open.workingDir }),
    },
    { stdin: stdin.readable, stdout: output("stdout"), stderr: output("stderr") },
  );
  const exit = process.exit;
  const input = takeInput(process, open, relay.received, stdin.writable.getWriter());
  // Awaited below, unless the stream to the caller fails first.
  const ended = Promise.race([exit, input.then(() => exit)]);
  ended.catch(() => undefined);
  try {
    await relay.send({ $case: "exec", value: { message: { $case: "started", value: true } } });
    const { code } = await abortable(ended, signal);
    await relay.send({ $case: "exec", value: { message: { $case: "exitCode", value: code } } });
  } catch (error) {
    await hangUp(process, () => within(clock, hangupGraceMs, exit, new AbortController().signal));
    throw error;
  }
}

/** Passes the caller's messages to the process until they end. Messages after the process's end are dropped. */
async function takeInput(
  process: ExecProcess,
  { tty, size }: ExecOpen,
  received: AsyncIterable<RelayReceived>,
  stdin: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  // A process that has ended accepts no input, which is no error.
  const late = (): undefined => undefined;
  stdin.closed.catch(late);
  if (tty && size !== undefined) await process.resize(size.columns, size.rows);
  for await (const each of received) {
    const message = each.$case === "exec" ? each.value.message : undefined;
    switch (message?.$case) {
      case "stdin":
        await stdin.write(message.value).catch(late);
        break;
      case "stdinEnd":
        await stdin.close().catch(late);
        break;
      case "resize":
        await process.resize(message.value.columns, message.value.rows).catch(late);
        break;
      case "signal":
        await process.signal(message.value);
        break;
      case "open":
      case undefined:
        break;
      default:
        message satisfies never;
    }
  }
  await stdin.close().catch(late);
}

async function hangUp(process: ExecProcess, ends: () => Promise<boolean>): Promise<void> {
  const gone = (): undefined => undefined;
  await process.signal("HUP").catch(gone);
  if (!(await ends().catch(() => true))) await process.signal("KILL").catch(gone);
}
