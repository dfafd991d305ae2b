// The bench's server on npm `socket.io`: one room for each deployment.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { serve } from "./events.mjs";

const token = process.env.TOKEN;

const server = createServer();
const io = new Server(server, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});

// Recommended by its documentation to save memory. Nothing here needs the first request.
io.engine.on("connection", (socket) => {
  socket.request = null;
});

io.use((socket, next) => {
  next(socket.handshake.auth.token === token ? undefined : new Error("unauthorized"));
});

io.on("connection", (socket) => {
  socket.on("subscribe", (id, answer) => {
    socket.join(id);
    answer({ subscribed: id });
  });
});

serve(server, (id, event) => io.to(id).emit("DeploymentStatusChanged", event));
