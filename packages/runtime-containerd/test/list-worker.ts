/** Prints the states of all containers as a worker of its own sees them; its argument is the runtime's options. */
import { connectContainerd, type ContainerdOptions } from "../src/index.ts";

await using runtime = await connectContainerd({}, JSON.parse(process.argv[2] ?? "{}") as ContainerdOptions);
const states = (await runtime.list()).map(({ id, state }) => [id, state] as const);
process.stdout.write(JSON.stringify(Object.fromEntries(states)));
