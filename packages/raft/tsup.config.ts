import { library } from "../../tools/tsup.preset.ts";

export default library([
  "src/index.ts",
  "src/core/index.ts",
  "src/autopilot/index.ts",
  "src/testing/index.ts",
  "src/dump/main.ts",
]);
