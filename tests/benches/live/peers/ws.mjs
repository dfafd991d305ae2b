// The bench's server on npm `ws`: one socket for each client, one set for each deployment.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { serve } from "./events.mjs";

const HEARTBEAT = 15_000;
const token = process.env.TOKEN;
const subscribers = new Map();

const server = createServer();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://localhost");
  if (url.searchParams.get("access_token") !== token) {
    socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, accept);
});

function accept(socket) {
  socket.alive = true;
  socket.on("error", () => {});
  socket.on("pong", markAlive);
  socket.on("message", subscribe);
  socket.on("close", unsubscribe);
}

function markAlive() {
  this.alive = true;
}

function subscribe(message) {
  const { subscribe: id } = JSON.parse(message);
  if (!subscribers.has(id)) subscribers.set(id, new Set());
  subscribers.get(id).add(this);
  this.send(JSON.stringify({ subscribed: id }));
}

function unsubscribe() {
  for (const set of subscribers.values()) set.delete(this);
}

setInterval(() => {
  for (const socket of sockets.clients) {
    if (!socket.alive) socket.terminate();
    else {
      socket.alive = false;
      socket.ping();
    }
  }
}, HEARTBEAT);

serve(server, (id, event) => {
  const text = Buffer.from(JSON.stringify(event));
  for (const socket of subscribers.get(id) ?? []) socket.send(text, { binary: false });
});
