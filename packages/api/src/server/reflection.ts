import { toBinary, type DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { descriptors } from "../descriptors.ts";
import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../generated/grpc/reflection/v1/reflection.ts";
import { grpcStatus } from "../status.ts";
import { bind, type BoundService } from "./binding.ts";

type Answer = ServerReflectionResponse["messageResponse"];

/** grpc.reflection, v1 and v1alpha, over the descriptors that the package was generated with. */
export function reflection(services: readonly string[]): readonly BoundService[] {
  const v1 = bind(ServerReflectionDefinition, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request, services) };
      }
    },
  });
  const fullName = "grpc.reflection.v1alpha.ServerReflection";
  return [v1, { ...v1, definition: { ...v1.definition, fullName } }];
}

function answer({ messageRequest: request }: ServerReflectionRequest, services: readonly string[]): Answer {
  switch (request?.$case) {
    case "listServices":
      return { $case: "listServicesResponse", value: { service: services.map((name) => ({ name })) } };
    case "fileByFilename":
      return files(descriptors().getFile(request.value), `file ${request.value}`);
    case "fileContainingSymbol":
      return files(fileOfSymbol(request.value), `symbol ${request.value}`);
    case "fileContainingExtension":
      return files(undefined, `extension ${request.value.extensionNumber} of ${request.value.containingType}`);
    case "allExtensionNumbersOfType":
      return descriptors().getMessage(request.value) === undefined
        ? notFound(`message ${request.value}`)
        : { $case: "allExtensionNumbersResponse", value: { baseTypeName: request.value, extensionNumber: [] } };
    case undefined:
      return {
        $case: "errorResponse",
        value: { errorCode: grpcStatus.INVALID_ARGUMENT, errorMessage: "the request is empty" },
      };
  }
}

function notFound(what: string): Answer {
  return { $case: "errorResponse", value: { errorCode: grpcStatus.NOT_FOUND, errorMessage: `${what} is not known` } };
}

/** The file of a type, or of a member of one: a method, a field, a value. */
function fileOfSymbol(symbol: string): DescFile | undefined {
  const found = descriptors().get(symbol);
  if (found !== undefined) return found.file;
  const owner = descriptors().get(symbol.slice(0, Math.max(0, symbol.lastIndexOf("."))));
  const member = symbol.slice(symbol.lastIndexOf(".") + 1);
  switch (owner?.kind) {
    case "service":
      return owner.methods.some(({ name }) => name === member) ? owner.file : undefined;
    case "message":
      return owner.members.some(({ name }) => name === member) ? owner.file : undefined;
    case "enum":
      return owner.values.some(({ name }) => name === member) ? owner.file : undefined;
    case "extension":
    case undefined:
      return undefined;
  }
}

function files(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return notFound(what);
  const found = new Set<DescFile>();
  const visit = (each: DescFile): void => {
    if (found.has(each)) return;
    found.add(each);
    each.dependencies.forEach(visit);
  };
  visit(file);
  const fileDescriptorProto = [...found].map((each) => Buffer.from(toBinary(FileDescriptorProtoSchema, each.proto)));
  return { $case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}
