// Calls every method of the hubs, over one transport and in one protocol.
//
//     node transport.mjs <executionId> <environment> <transport> <protocol>
//
// The deployment must wait for approval. Sends `ready` once the test may approve it, and
// `report` once it has ended.

import { once } from "node:events";

import { errorOf, hubBuilder, onEvents, sendToTest } from "./common.mjs";

const [executionId, environment, transport, protocol] = process.argv.slice(2);
const { HOTSWAP_TOKEN: admin, HOTSWAP_VIEWER: viewer } = process.env;

/** Connects to a hub with a token. */
async function connect(hub, token) {
  const options = { accessTokenFactory: () => token };
  const connection = hubBuilder(hub, transport, protocol, options).build();
  await connection.start();
  return connection;
}

/** Reads a stream to its end. */
function readStream(connection, ...parameters) {
  return new Promise((complete, error) => {
    const items = [];
    const next = (item) => items.push(item);
    connection.stream("StreamDeployment", ...parameters).subscribe({
      next,
      error,
      complete: () => complete(items),
    });
  });
}

/** Opens streams one after the other, and cancels each at its first item. Opens more than a
 * connection may have at once, so each must have ended on the server. Returns how many items
 * came after a cancellation. */
async function countLateItems(connection) {
  let late = 0;
  for (let count = 0; count < 20; count += 1) {
    await new Promise((next, error) => {
      let stream;
      let cancelled = false;
      const subscriber = {
        next() {
          if (cancelled) late += 1;
          cancelled = true;
          // The first item may come before `subscribe` returns.
          queueMicrotask(() => {
            stream?.dispose();
            next();
          });
        },
        error,
        complete() {},
      };
      stream = connection.stream("StreamDeployment", executionId).subscribe(subscriber);
    });
  }
  return late;
}

const connection = await connect("/hubs/deployments", viewer);
const events = [];
const ended = new EventTarget();
const end = once(ended, "end");
onEvents(connection, (event, argument) => {
  events.push({ event, argument });
  if (event === "DeploymentCompleted") ended.dispatchEvent(new Event("end"));
});

const snapshot = await connection.invoke("SubscribeToDeployment", executionId);
const unsubscribed = await connection.invoke("UnsubscribeFromDeployment", executionId);
// From the first event on.
const beginning = { epoch: snapshot.epoch, offset: "0" };
const resumed = await connection.invoke("SubscribeToDeployment", executionId, beginning);
const stream = readStream(connection, executionId, beginning);
const late = await countLateItems(connection);

const failures = {
  unknown: await errorOf(connection.invoke("NoSuchMethod")),
  case: await errorOf(connection.invoke("subscribeToDeployment", executionId)),
  stream: await errorOf(readStream(connection, "not-an-id")),
  unauthorized: await errorOf(connection.invoke("SubscribeToAllDeployments")),
  missing: await errorOf(
    connection.invoke("SubscribeToDeployment", "00000000-0000-7000-8000-000000000000"),
  ),
};

const adminConnection = await connect("/hubs/deployments", admin);
const overseen = [];
// The hub publishes the events of one and of all deployments apart.
const overseenEnd = once(ended, "overseen");
onEvents(adminConnection, (event, argument) => {
  overseen.push({ event, argument });
  if (event === "DeploymentCompleted") ended.dispatchEvent(new Event("overseen"));
});
const all = await adminConnection.invoke("SubscribeToAllDeployments");

const metricsConnection = await connect("/hubs/metrics", viewer);
const metrics = new Promise((update) => metricsConnection.on("MetricsUpdated", update));
const metered = await metricsConnection.invoke("SubscribeToMetrics", environment);
failures.environment = await errorOf(metricsConnection.invoke("SubscribeToMetrics", "nowhere"));

sendToTest({ ready: true });
await end;
await overseenEnd;
const streamed = await stream;
const measured = await metrics;
// These answers arrive after all events on their connections.
const left = await adminConnection.invoke("UnsubscribeFromAllDeployments");
const unmetered = await metricsConnection.invoke("UnsubscribeFromMetrics", environment);
await Promise.all([connection.stop(), adminConnection.stop(), metricsConnection.stop()]);
sendToTest({
  report: {
    snapshot,
    resumed,
    events,
    streamed,
    late,
    failures,
    all,
    overseen,
    measured,
    nulls: [unsubscribed, left, metered, unmetered],
  },
});
process.exit(0);
