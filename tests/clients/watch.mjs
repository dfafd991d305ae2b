// Watches a deployment to its end, across lost connections.
//
//     node watch.mjs <executionId> <transport> <protocol> [stateful]
//
// Sends each event and each answer to a subscription as `{event, argument, connection,
// socket}`: the id of the connection, and the number of the WebSocket, counted from 1. At the
// end sends `ended`, with the counts of answered and lost calls. If HOTSWAP_TOKEN is not set,
// it requests a token from the test before each connection: it sends `token` and reads a line.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import { HubConnectionState } from "@microsoft/signalr";
import WebSocket from "ws";

import { hubBuilder, onEvents, sendToTest } from "./common.mjs";

const [executionId, transport, protocol, stateful] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });

let sockets = 0;

class CountedWebSocket extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    this.on("open", () => {
      sockets += 1;
    });
  }
}

async function fetchToken() {
  if (process.env.HOTSWAP_TOKEN) return process.env.HOTSWAP_TOKEN;
  const [[line]] = await Promise.all([once(lines, "line"), sendToTest({ token: true })]);
  return line;
}

const builder = hubBuilder("/hubs/deployments", transport, protocol, {
  accessTokenFactory: fetchToken,
  WebSocket: CountedWebSocket,
  // `fetch` of Node.js 20 never returns if the connection closes before the request is
  // written. Without this time-out such a negotiation would take 100 seconds.
  timeout: 2_000,
}).withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 10 * Math.random() });
if (stateful) builder.withStatefulReconnect();
const connection = builder.build();

let position = null;
let subscribed = Promise.resolve();
let resolveEnded;
const ended = new Promise((resolve) => {
  resolveEnded = resolve;
});

function handle(event, argument) {
  sendToTest({ event, argument, connection: connection.connectionId, socket: sockets });
  position = { epoch: argument.epoch, offset: argument.offset };
  if (event === "DeploymentCompleted") resolveEnded();
}

/** Subscribes on the current connection. If that is lost before the answer, the next connection
 * subscribes again. */
function subscribe() {
  const connectionId = connection.connectionId;
  subscribed = connection.invoke("SubscribeToDeployment", executionId, position).then(
    (subscription) => handle("Subscribed", subscription),
    (error) => {
      if (connection.connectionId === connectionId) throw error;
    },
  );
}

onEvents(connection, (event, argument) => {
  // The first events may arrive in one frame with the answer to the subscription.
  subscribed.then(() => handle(event, argument));
});
connection.onreconnected(subscribe);
connection.onclose((error) => {
  throw error ?? new Error("the engine closed the connection");
});

/** Calls the server until the deployment has ended, because messages to the server can be lost
 * too. Counts answered and lost calls. */
async function callRepeatedly(counts) {
  let hasEnded = false;
  ended.then(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    if (connection.state === HubConnectionState.Connected) {
      const answer = connection.invoke("UnsubscribeFromDeployment", crypto.randomUUID());
      await answer.then(
        () => (counts.answered += 1),
        () => (counts.lost += 1),
      );
    }
    await sleep(20);
  }
  return counts;
}

for (;;) {
  try {
    await connection.start();
    break;
  } catch {
    // The proxy may cut the connection during the handshake.
    await sleep(10);
  }
}
subscribe();
const [calls] = await Promise.all([callRepeatedly({ answered: 0, lost: 0 }), ended]);
sendToTest({ ended: calls });
process.exit(0);
