import { RuntimeError, type ImageConfig } from "@warren/runtime";

/** What an image runs when asked for `command` and `args`, by Docker's rules: a command drops the image's arguments too. */
export function commandLine(
  image: Pick<ImageConfig, "entrypoint" | "cmd">,
  command: readonly string[] | undefined,
  args: readonly string[] | undefined,
): readonly string[] {
  const line = command === undefined ? [...image.entrypoint, ...(args ?? image.cmd)] : [...command, ...(args ?? [])];
  if (line.length > 0) return line;
  throw new RuntimeError(
    { code: "RUNTIME_SPEC_INVALID", field: "command" },
    "there is nothing to run: the image names no command, so the service must",
  );
}
