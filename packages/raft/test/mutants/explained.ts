/** Why a generated mutation that nothing notices is none that something should notice. */
export const explained: Readonly<Record<string, string>> = {
  'transport/grpc-server.ts | order swapped | stream.once("end", resolve);':
    "Which of two listeners is added first changes nothing.",
  "node/engine.ts | logic: || becomes && | const matters = ready.mustSync || append.snapshot !== undefined || append.responses.length > 0;":
    "Every promise is a response to a peer: a term without responses may wait for the next write.",
};
