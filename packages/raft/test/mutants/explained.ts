/** Why a generated mutation that nothing notices is none that something should notice. */
export const explained: Readonly<Record<string, string>> = {
  "transport/grpc-frames.ts | comparison: < becomes <= | for (let scale = 1; at < message.length; scale *= 128) {":
    "A length that is cut off is refused either way: past the end there is no byte, the length is no number, and no message has it.",
  'transport/grpc-server.ts | order swapped | stream.once("end", resolve);':
    "Which of two listeners is added first changes nothing.",
};
