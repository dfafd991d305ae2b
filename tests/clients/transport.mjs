// Everything that the hubs have, over one transport and in one protocol.
//
//     node transport.mjs <executionId> <environment> <transport> <protocol>
//
// The deployment waits for an approval: `ready` is told once that may be given, and `report`
// once it has ended.

import { once } from "node:events";

import { build, failure, listen, tell } from "./common.mjs";

const [executionId, environment, transport, protocol] = process.argv.slice(2);
const { HOTSWAP_TOKEN: admin, HOTSWAP_VIEWER: viewer } = process.env;

/** A connection to a hub, with a token. */
async function connect(hub, token) {
  const connection = build(hub, transport, protocol, { accessTokenFactory: () => token }).build();
  await connection.start();
  return connection;
}

/** A stream to its end. */
function drain(connection, ...given) {
  return new Promise((complete, error) => {
    const items = [];
    const next = (item) => items.push(item);
    connection.stream("StreamDeployment", ...given).subscribe({
      next,
      error,
      complete: () => complete(items),
    });
  });
}

/** A stream that is cancelled at its first item. More of them than a connection may have
 * open, one after the other: each has to have ended on the server. */
async function cancelled(connection) {
  let late = 0;
  for (let count = 0; count < 20; count += 1) {
    await new Promise((next, error) => {
      let stream;
      let over = false;
      const subscriber = {
        next() {
          if (over) late += 1;
          over = true;
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
listen(connection, (event, argument) => {
  events.push({ event, argument });
  if (event === "DeploymentCompleted") ended.dispatchEvent(new Event("end"));
});

const snapshot = await connection.invoke("SubscribeToDeployment", executionId);
const unsubscribed = await connection.invoke("UnsubscribeFromDeployment", executionId);
// From the very first event on.
const beginning = { epoch: snapshot.epoch, offset: "0" };
const resumed = await connection.invoke("SubscribeToDeployment", executionId, beginning);
const stream = drain(connection, executionId, beginning);
const late = await cancelled(connection);

const failures = {
  unknown: await failure(connection.invoke("NoSuchMethod")),
  case: await failure(connection.invoke("subscribeToDeployment", executionId)),
  stream: await failure(drain(connection, "not-an-id")),
  unauthorized: await failure(connection.invoke("SubscribeToAllDeployments")),
  missing: await failure(
    connection.invoke("SubscribeToDeployment", "00000000-0000-7000-8000-000000000000"),
  ),
};

const overseer = await connect("/hubs/deployments", admin);
const overseen = [];
listen(overseer, (event, argument) => overseen.push({ event, argument }));
const all = await overseer.invoke("SubscribeToAllDeployments");

const meter = await connect("/hubs/metrics", viewer);
const metrics = new Promise((update) => meter.on("MetricsUpdated", update));
const metered = await meter.invoke("SubscribeToMetrics", environment);
failures.environment = await failure(meter.invoke("SubscribeToMetrics", "nowhere"));

tell({ ready: true });
await end;
const streamed = await stream;
const measured = await metrics;
// What this connection is answered now comes after all that it was told.
const left = await overseer.invoke("UnsubscribeFromAllDeployments");
const unmetered = await meter.invoke("UnsubscribeFromMetrics", environment);
await Promise.all([connection.stop(), overseer.stop(), meter.stop()]);
tell({
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
