/** Makes, starts, looks into and removes containers for ever: what the crash test kills. Argument: the bed's options and an image. */
import { connectContainerd, type ContainerdOptions } from "../src/index.ts";

const { options, image, round } = JSON.parse(process.argv[2] ?? "") as {
  readonly options: ContainerdOptions;
  readonly image: string;
  readonly round: number;
};
const runtime = await connectContainerd({}, options);
process.stdout.write("ready\n");
const life = async (lane: number): Promise<void> => {
  for (let turn = 0; ; turn += 1) {
    const id = `x-${round}-${lane}-${turn}`;
    try {
      await runtime.create({ id, image, command: ["/bin/sh", "-c", "echo begun; sleep 600"] });
      await runtime.start(id);
      const { exit } = await runtime.exec(id, { args: ["true"] });
      await exit;
      if (turn % 2 === 0) await runtime.remove(id);
    } catch {
      // containerd is killed too; the next turn finds it or not
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
};
await Promise.all([0, 1, 2].map(life));
