#!/usr/bin/env node
if (Number(process.versions.node.split(".")[0]) < 24) {
  process.stderr.write(`error: warren needs Node 24 or later, and this is ${process.versions.node}\n`);
  process.exit(1);
}
await import("../dist/main.js");
