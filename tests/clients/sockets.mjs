// npm's socket.io-client, told what to do by lines of JSON, and telling what it sees in the same way.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
let socket;

const doing = {
  connect({ url, options }) {
    socket = io(url, options);
    socket.on("connect", () => say({ seen: "connect", id: socket.id, transport: socket.io.engine.transport.name }));
    socket.on("connect_error", (error) => say({ seen: "connect_error", message: error.message, data: error.data ?? null }));
    socket.on("disconnect", (reason) => say({ seen: "disconnect", reason }));
    socket.io.engine.on("upgrade", (transport) => say({ seen: "upgrade", transport: transport.name }));
    socket.onAny((name, ...args) => say({ seen: "event", name, args }));
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
