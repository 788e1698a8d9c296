import { createFileRegistry, fromBinary, type FileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { descriptorSetBase64 } from "./generated/descriptors.ts";

let loaded: FileRegistry | undefined;

/** The descriptors of all files of the API in `proto/`; decoded at first use. */
export function descriptors(): FileRegistry {
  loaded ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSetBase64, "base64")));
  return loaded;
}
