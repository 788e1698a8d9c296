import { library } from "../../tools/tsup.preset.ts";

export default library(["src/index.ts", "src/testing/index.ts"]);
