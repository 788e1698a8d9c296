import { runReadmeExample } from "@warren/std/testing";
import { expect, test } from "vitest";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect({ stdout, stderr }).toEqual({
    stdout:
      "w2 is a worker of c1\ncertificate of w2: PURPOSE_INVALID: a worker's certificate does not serve as a server's\n",
    stderr: "",
  });
});
