import { serveSeeds } from "@warren/std/testing";
import { runSeed } from "./seed.ts";

await serveSeeds(runSeed);
