// npm's socket.io-client, told what to do by lines of JSON, and telling what it sees in the same way.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
let socket, cursor;

const doing = {
  // `keep` is a token with which it comes back, each time with the cursor of what it was told last.
  connect({ url, options, keep }) {
    const auth = keep ? (give) => give(cursor ? { token: keep, cursor } : { token: keep }) : options.auth;
    socket = io(url, { ...options, auth });
    socket.on("connect", () => say({ seen: "connect", id: socket.id, transport: socket.io.engine.transport.name }));
    socket.on("connect_error", (error) => say({ seen: "connect_error", message: error.message, data: error.data ?? null }));
    socket.on("disconnect", (reason) => say({ seen: "disconnect", reason }));
    socket.io.engine.on("upgrade", (transport) => say({ seen: "upgrade", transport: transport.name }));
    socket.onAny((name, ...args) => {
      cursor = args[0]?.cursor ?? cursor;
      say({ seen: "event", name, args });
    });
  },
  emit({ name, args, ack }) {
    if (ack) socket.timeout(10000).emit(name, ...args, (error, answer) => say({ seen: "ack", ack, error: error ? error.message : null, answer }));
    else socket.emit(name, ...args);
  },
  active: () => say({ seen: "active", active: socket.active }),
  disconnect: () => socket.disconnect(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...rest } = JSON.parse(line);
  doing[name](rest);
}
process.exit(0);
