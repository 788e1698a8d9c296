import { test } from "vitest";
import { checkHistories } from "./histories.ts";

test("in a thousand histories with cut links, reboots and managers that die, L1, L2 and L8 hold throughout and the end is what was asked for", () =>
  checkHistories({ mostOperations: 60, histories: 1_000 }));
