/**
 * The program that runs in each host of a lab, and serves and calls on command. Commands and answers are lines of JSON
 * on its standard input and output. It is passed to `node -e` as text, so it refers to nothing outside of itself.
 */
export function peerProgram(): void {
  const net = process.getBuiltinModule("node:net");
  const dgram = process.getBuiltinModule("node:dgram");
  const readline = process.getBuiltinModule("node:readline");
  type Command = {
    id: number;
    do: string;
    port: number;
    address: string;
    name: string;
    text: string;
    key: string;
    from: number;
    source: string;
  };
  const open = new Map<string, import("node:net").Socket>();
  const udp = new Map<number, import("node:dgram").Socket>();
  const boundSockets = new Map<string, import("node:dgram").Socket>();
  const received: string[] = [];

  /** Answers each line with the name, the caller's address and the line. */
  const serve = async ({ name, port }: Command): Promise<string> => {
    const server = net.createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.on("data", (data) => socket.write(`${name} ${socket.remoteAddress} ${String(data)}`));
    });
    await new Promise<void>((resolve) => server.listen(port, "0.0.0.0", resolve));
    const socket = dgram.createSocket("udp4");
    socket.on("message", (data, from) => {
      received.push(`${from.address} ${String(data)}`);
      socket.send(`${name} ${from.address} ${String(data)}`, from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(port, "0.0.0.0", resolve));
    return "serving";
  };

  const ask = (socket: import("node:net").Socket, text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error("closed"));
      socket.once("data", (data) => {
        // A connection may be idle for as long as its test takes.
        socket.setTimeout(0);
        resolve(String(data));
      });
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed")));
      socket.setTimeout(3_000, () => socket.destroy(new Error("ETIMEDOUT")));
      socket.write(text);
    });

  const dial = async ({ address, port, key, text }: Command): Promise<string> => {
    const socket = net.connect({ host: address, port });
    open.set(key, socket);
    return ask(socket, text);
  };

  /** From the port `from`, so that a second call is the same flow. */
  const send = async ({ address, port, text, from }: Command): Promise<string> => {
    const socket = udp.get(from) ?? dgram.createSocket("udp4");
    if (!udp.has(from)) await new Promise<void>((resolve) => socket.bind(from, resolve));
    udp.set(from, socket);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("ETIMEDOUT")), 1_000);
      socket.once("message", (data) => {
        clearTimeout(timer);
        resolve(String(data));
      });
      socket.send(text, port, address);
    });
  };

  /** From an address of the host and a port, with no answer awaited. */
  const sendFrom = async ({ address, port, text, source, from }: Command): Promise<string> => {
    const key = `${source}:${from}`;
    const socket = boundSockets.get(key) ?? dgram.createSocket("udp4");
    if (!boundSockets.has(key)) await new Promise<void>((resolve) => socket.bind(from, source, resolve));
    boundSockets.set(key, socket);
    await new Promise<void>((resolve) => socket.send(text, port, address, () => resolve()));
    return "";
  };

  const run = async (command: Command): Promise<string> => {
    switch (command.do) {
      case "serve":
        return serve(command);
      case "dial":
        return dial(command);
      case "ask":
        return ask(open.get(command.key) as import("node:net").Socket, command.text);
      case "hangUp":
        open.get(command.key)?.destroy();
        open.delete(command.key);
        return "";
      case "sendFrom":
        return sendFrom(command);
      case "received":
        return JSON.stringify(received);
      default:
        return send(command);
    }
  };
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const command = JSON.parse(line) as Command;
    const answer = (value: object): void =>
      void process.stdout.write(`${JSON.stringify({ id: command.id, ...value })}\n`);
    run(command).then(
      (text) => answer({ text }),
      (error: NodeJS.ErrnoException) => answer({ error: error.code ?? error.message }),
    );
  });
  process.stdin.on("end", () => process.exit(0));
}
