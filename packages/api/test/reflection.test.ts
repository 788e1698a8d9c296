/** A client that knows nothing but gRPC's reflection: as grpcurl does it, from names to a call. */
import { createFileRegistry, create, fromBinary, toBinary, toJson, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { networks, serve } from "./fixture.ts";

const raw = { serialize: (bytes: Uint8Array) => Buffer.from(bytes), deserialize: (bytes: Buffer) => bytes };

/** One question to `grpc.reflection.VERSION`, its messages by their numbers alone. */
async function ask(grpc: Client, version: string, field: number, text: string): Promise<Buffer> {
  const stream = grpc.makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    raw.serialize,
    raw.deserialize,
  );
  stream.end(Buffer.concat([Buffer.from([(field << 3) | 2, text.length]), Buffer.from(text)]));
  const [answer] = (await Array.fromAsync(stream)) as [Buffer];
  return answer;
}

/** Values of a length-delimited field. */
function values(bytes: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  let at = 0;
  while (at < bytes.length) {
    const tag = varint();
    if ((tag & 7) !== 2) varint();
    else {
      const length = varint();
      if (tag >> 3 === wanted) found.push(bytes.subarray(at, at + length));
      at += length;
    }
  }
  return found;
}

describe.each(["v1", "v1alpha"])("reflection %s", (version) => {
  it("leads a client that knows nothing from a list of names to a call", async () => {
    const { socket } = await serve([networks()]);
    const grpc = new Client(`unix:${socket}`, credentials.createInsecure());
    const [list] = values(await ask(grpc, version, 7, ""), 6);
    const names = values(list as Buffer, 1).map((service) => String(values(service, 1)[0]));
    expect(names).toEqual(["warren.v1.Networks", "grpc.health.v1.Health"]);

    const [answer] = values(await ask(grpc, version, 4, "warren.v1.Networks"), 4);
    const file: FileDescriptorProto[] = values(answer as Buffer, 1).map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: file.toReversed() }));
    const method = registry.getService("warren.v1.Networks")?.methods.find(({ name }) => name === "Create");
    const request = fromJson(method!.input, { spec: { name: "blue", labels: { tier: "web" } } });
    const response = await new Promise<Buffer>((resolve, reject) => {
      grpc.makeUnaryRequest(
        "/warren.v1.Networks/Create",
        raw.serialize,
        raw.deserialize,
        toBinary(method!.input, request),
        (error, value) => (error ? reject(error) : resolve(value as Buffer)),
      );
    });
    expect(toJson(method!.output, fromBinary(method!.output, response))).toEqual({
      meta: { id: "n1" },
      spec: { name: "blue", labels: { tier: "web" } },
    });
    grpc.close();
  });

  it.each([
    [4, "warren.v1.Networks.Create", 4],
    [4, "warren.v1.TaskSpec.container", 4],
    [4, "warren.v1.TaskState.TASK_STATE_RUNNING", 4],
    [3, "warren/v1/task.proto", 4],
    [6, "warren.v1.Task", 5],
    [4, "warren.v1.Nothing", 7],
    [4, "warren.v1.Networks.Nothing", 7],
    [4, "x", 7],
    [3, "no.proto", 7],
    [6, "warren.v1.Nothing", 7],
  ])("question %i about %s is answered by field %i", async (question, text, field) => {
    const { socket } = await serve([networks()]);
    const grpc = new Client(`unix:${socket}`, credentials.createInsecure());
    expect(values(await ask(grpc, version, question, text), field)).toHaveLength(1);
    grpc.close();
  });
});
