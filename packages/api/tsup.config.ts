import { library } from "../../tools/tsup.preset.ts";

export default library([
  "src/index.ts",
  "src/client/index.ts",
  "src/json/index.ts",
  "src/model/index.ts",
  "src/server/index.ts",
  "src/spec/index.ts",
  "src/testing/index.ts",
]);
