/** The `warren` command: every word of it, and both daemons. */
import { enableCompileCache } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { routeArgv } from "./argv.ts";
import { commandTable } from "./command-table.ts";

enableCompileCache();
const route = routeArgv(process.argv.slice(2), Object.keys(commandTable));
switch (route.kind) {
  case "version":
    process.stdout.write(`${versionLine()}\n`);
    break;
  case "unknown":
    process.stderr.write(`error: ${route.error}\nsee: warren --help\n`);
    process.exitCode = 2;
    break;
  case "help":
    await (await import("./help.ts")).showHelp(route, versionLine());
    break;
  case "run":
    await (await import("./run-command.ts")).runCommand(route.id, route.argv, version());
}

function versionLine(): string {
  return `warren/${version()} ${process.platform}-${process.arch} node-${process.version}`;
}

function version(): string {
  const text = readFileSync(join(import.meta.dirname, "../package.json"), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}
