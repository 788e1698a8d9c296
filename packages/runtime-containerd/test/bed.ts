import type { ContainerSpec, ExitStatus, LogLine, Runtime } from "@warren/runtime";

export interface Ran {
  readonly exit: ExitStatus;
  /** Both streams, as they were written. */
  readonly output: string;
}

/** Runs `sh -c` to its end in a new container, which stays for the caller to look at. */
export async function script(
  runtime: Runtime,
  text: string,
  spec: Partial<ContainerSpec> & Pick<ContainerSpec, "id" | "image">,
): Promise<Ran> {
  await runtime.create({ command: ["/bin/sh", "-c"], args: [text], ...spec });
  await runtime.start(spec.id);
  const exit = await runtime.wait(spec.id);
  return { exit, output: textOf(await linesOf(runtime.logs(spec.id))) };
}

export async function linesOf(lines: AsyncIterable<LogLine>): Promise<LogLine[]> {
  const read: LogLine[] = [];
  for await (const line of lines) read.push(line);
  return read;
}

export function textOf(lines: readonly LogLine[]): string {
  return lines.map(({ line, partial }) => Buffer.from(line).toString("latin1") + (partial ? "" : "\n")).join("");
}

/** A stream that keeps what is written to it. */
export function collector(): { readonly stream: WritableStream<Uint8Array>; readonly bytes: () => Buffer } {
  const chunks: Uint8Array[] = [];
  const stream = new WritableStream<Uint8Array>({
    write(chunk) {
      chunks.push(Uint8Array.from(chunk));
    },
  });
  return { stream, bytes: () => Buffer.concat(chunks) };
}
