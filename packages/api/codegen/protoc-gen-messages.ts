/**
 * A plugin of buf: ts-proto's messages, but for fields that a message's own level does not know.
 *
 * ts-proto keeps them in `_unknownFields` through decode and encode. Here a message that has none has no such property,
 * `create` and `fromPartial` keep them too, and their bytes are a copy, not a view that holds the whole input. An entry
 * of a map is one whatever its key: assigning `__proto__` would drop it.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { CodeGeneratorResponseSchema } from "@bufbuild/protobuf/wkt";

const plugin = new URL("../node_modules/ts-proto/protoc-gen-ts_proto", import.meta.url).pathname;
const { status, stdout } = spawnSync(process.execPath, [plugin], {
  input: readFileSync(0),
  maxBuffer: 2 ** 28,
  stdio: ["pipe", "pipe", "inherit"],
});
if (status !== 0) throw new Error(`ts-proto ended with ${status}`);

/** What is replaced in each message's code: once, or the plugin fails, since ts-proto writes something else then. */
const replacements: readonly (readonly [RegExp, string])[] = [
  [/,?\s*_unknownFields: \{\},?\s*\};/g, " };"],
  [
    /const buf = reader\.skip\(tag & 7\);\s+const list = message\._unknownFields!\[tag\];\s+if \(list === undefined\) \{\s+message\._unknownFields!\[tag\] = \[buf\];\s+\} else \{\s+list\.push\(buf\);\s+\}/g,
    "const buf = new Uint8Array(reader.skip(tag & 7));\n        ((message._unknownFields ??= {})[tag] ??= []).push(buf);",
  ],
  [
    /(fromPartial\((\w+): DeepPartial<(\w+)>\): \w+ \{\s+const message = createBase\w+\(\);)([\s\S]*?)(\s+return message;)/g,
    '$1$4\n    if (object._unknownFields !== undefined) message._unknownFields = object._unknownFields as $3["_unknownFields"];$5',
  ],
];

const response = fromBinary(CodeGeneratorResponseSchema, stdout);
for (const file of response.file) {
  const messages = file.content.match(/^function createBase/gm)?.length ?? 0;
  for (const [pattern, replacement] of replacements) {
    const found = file.content.match(pattern)?.length ?? 0;
    if (found !== messages) throw new Error(`${file.name}: ${messages} messages, and ${found} of ${String(pattern)}`);
    file.content = file.content.replaceAll(pattern, replacement);
  }
  file.content = file.content.replaceAll(
    /^( +)((?:message\.\w+|acc))\[((?:entry\d+\.)?key)\] = (.+);$/gm,
    '$1if ($3 === "__proto__") globalThis.Object.defineProperty($2, $3, { value: $4, configurable: true, enumerable: true, writable: true });\n$1else $2[$3] = $4;',
  );
  file.content = file.content.replaceAll("fromPartial(_: DeepPartial", "fromPartial(object: DeepPartial");
}
process.stdout.write(toBinary(CodeGeneratorResponseSchema, response));
