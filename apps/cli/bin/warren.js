#!/usr/bin/env -S node --
// Without the dashes Node takes an --env-file of ours for its own: it reads it, and does what its NODE_OPTIONS say.
if (Number(process.versions.node.split(".")[0]) < 24) {
  process.stderr.write(`error: warren needs Node 24 or later, and this is ${process.versions.node}\n`);
  process.exit(1);
}
await import("../dist/main.js");
