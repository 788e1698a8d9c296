/** Set-up of each test file: what fast-check draws follows from `WARREN_SEED`. It prints the seed of a property that fails. */
import { testSeed } from "@warren/std/testing";
import * as fc from "fast-check";

fc.configureGlobal({ seed: testSeed() });
