// Watches a deployment to its end, through whatever happens to the connection.
//
//     node watch.mjs <executionId> <transport> <protocol> [stateful]
//
// Tells each event and each subscription as `{event, argument, connection, socket}`: which
// connection it came on, and the how manieth WebSocket of this process that was. Tells
// `ended` at the end, with how many calls were answered and how many were lost. Where
// HOTSWAP_TOKEN is not set, it asks for a token before each connection: `token` is told, and
// one is read.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import { HubConnectionState } from "@microsoft/signalr";
import WebSocket from "ws";

import { build, listen, tell } from "./common.mjs";

const [executionId, transport, protocol, stateful] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });

let sockets = 0;

class Counted extends WebSocket {
  constructor(...given) {
    super(...given);
    this.on("open", () => {
      sockets += 1;
    });
  }
}

async function token() {
  if (process.env.HOTSWAP_TOKEN) return process.env.HOTSWAP_TOKEN;
  const [[line]] = await Promise.all([once(lines, "line"), tell({ token: true })]);
  return line;
}

const builder = build("/hubs/deployments", transport, protocol, {
  accessTokenFactory: token,
  WebSocket: Counted,
  // The `fetch` of Node.js 20 never returns where a connection is closed before the request
  // is written; without this, negotiations that are cut so take 100 seconds.
  timeout: 2_000,
}).withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 10 * Math.random() });
if (stateful) builder.withStatefulReconnect();
const connection = builder.build();

let position = null;
let subscribed = Promise.resolve();
let end;
const ended = new Promise((done) => {
  end = done;
});

function heard(event, argument) {
  tell({ event, argument, connection: connection.connectionId, socket: sockets });
  position = { epoch: argument.epoch, offset: argument.offset };
  if (event === "DeploymentCompleted") end();
}

/** As often as the connection is lost before there is an answer. */
function subscribe() {
  const given = connection.connectionId;
  subscribed = connection.invoke("SubscribeToDeployment", executionId, position).then(
    (subscription) => heard("Subscribed", subscription),
    (error) => {
      if (connection.connectionId === given) throw error;
    },
  );
}

listen(connection, (event, argument) => {
  // The first events may share a frame with the answer to the subscription.
  subscribed.then(() => heard(event, argument));
});
connection.onreconnected(subscribe);
connection.onclose((error) => {
  throw error ?? new Error("the engine closed the connection");
});

/** Calls all the time: what goes to the server can be lost as well as what comes. */
async function call(count) {
  let over = false;
  ended.then(() => {
    over = true;
  });
  while (!over) {
    if (connection.state === HubConnectionState.Connected) {
      const answer = connection.invoke("UnsubscribeFromDeployment", crypto.randomUUID());
      await answer.then(
        () => (count.answered += 1),
        () => (count.lost += 1),
      );
    }
    await sleep(20);
  }
  return count;
}

for (;;) {
  try {
    await connection.start();
    break;
  } catch {
    // It may be cut before it stands.
    await sleep(10);
  }
}
subscribe();
const [calls] = await Promise.all([call({ answered: 0, lost: 0 }), ended]);
tell({ ended: calls });
process.exit(0);
