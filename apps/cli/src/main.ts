/** The `warren` command: every word of it, and both daemons. */
import { enableCompileCache } from "node:module";
import { execute } from "@oclif/core";

enableCompileCache();
await execute({ dir: import.meta.url });
