/**
 * A plugin of buf: writes the descriptors of all files as one FileDescriptorSet, base64 in a TypeScript module, so that
 * reflection and JSON need no file at run time. Comments in the sources are left out.
 */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponse_Feature,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

const request = fromBinary(CodeGeneratorRequestSchema, readFileSync(0));
const file = request.protoFile;
for (const each of file) delete each.sourceCodeInfo;
const set = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
const content = `/** google.protobuf.FileDescriptorSet of all that is in \`proto/\` for the API, base64. */
export const descriptorSetBase64: string =
  "${Buffer.from(set).toString("base64")}";
`;
const response = create(CodeGeneratorResponseSchema, {
  supportedFeatures: BigInt(CodeGeneratorResponse_Feature.PROTO3_OPTIONAL),
  file: [{ name: "descriptors.ts", content }],
});
process.stdout.write(toBinary(CodeGeneratorResponseSchema, response));
