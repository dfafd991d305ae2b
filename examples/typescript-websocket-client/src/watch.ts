import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

import {
  allDeployments,
  backOff,
  deployment,
  follow,
  metrics,
  type Subscription,
  type Topic,
} from "./subscription.js";

const USAGE = `usage: node dist/watch.js <executionId> | --all | --metrics <environment>
         [--transport websockets|sse|longpolling] [--protocol json|messagepack] [--stateful]

HOTSWAP_URL is the engine (default http://127.0.0.1:5000), HOTSWAP_TOKEN its token.
Exit codes: 0 succeeded, 1 error, 2 usage, 3 failed or rolled back, 130 interrupted.`;

const TRANSPORTS = new Map([
  ["websockets", HttpTransportType.WebSockets],
  ["sse", HttpTransportType.ServerSentEvents],
  ["longpolling", HttpTransportType.LongPolling],
]);

interface Settings {
  readonly url: string;
  readonly token: string;
  readonly topic: Topic;
  readonly transport: HttpTransportType;
  readonly binary: boolean;
  readonly stateful: boolean;
}

function settings(): Settings {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      all: { type: "boolean", default: false },
      metrics: { type: "string" },
      transport: { type: "string", default: "websockets" },
      protocol: { type: "string", default: "json" },
      stateful: { type: "boolean", default: false },
    },
  });
  const topics = [
    ...positionals.map(deployment),
    ...(values.all ? [allDeployments()] : []),
    ...(values.metrics === undefined ? [] : [metrics(values.metrics)]),
  ];
  const [topic] = topics;
  if (topic === undefined || topics.length > 1) throw new Error("name one thing to watch");
  const transport = TRANSPORTS.get(values.transport);
  if (transport === undefined) throw new Error(`no transport is called ${values.transport}`);
  if (!["json", "messagepack"].includes(values.protocol)) {
    throw new Error(`no protocol is called ${values.protocol}`);
  }
  const binary = values.protocol === "messagepack";
  if (binary && transport === HttpTransportType.ServerSentEvents) {
    throw new Error("server-sent events carry text only: take another transport, or json");
  }
  const token = process.env["HOTSWAP_TOKEN"];
  // What cannot stand in a header would come back in the text of an error.
  if (!token || !/^[!-~]+$/.test(token)) throw new Error("HOTSWAP_TOKEN holds no token");
  const url = (process.env["HOTSWAP_URL"] ?? "http://127.0.0.1:5000").replace(/\/+$/, "");
  return { url, token, topic, transport, binary, stateful: values.stateful };
}

function connect({ url, token, topic, transport, binary, stateful }: Settings) {
  const builder = new HubConnectionBuilder()
    .withUrl(url + topic.hub, {
      transport,
      // Of a negotiation and of what is sent by HTTP, in milliseconds; a poll has its own.
      timeout: 10_000,
      // A header, and no `accessTokenFactory`: that would put the token into the URL of
      // server-sent events, and so into the logs of proxies.
      headers: { Authorization: `Bearer ${token}` },
    })
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds: ({ previousRetryCount, retryReason }) => {
        console.error(`reconnecting: ${retryReason.message}`);
        return backOff(previousRetryCount);
      },
    })
    // The client's own logger writes to standard output, which is for events alone.
    .configureLogging(LogLevel.None);
  if (binary) builder.withHubProtocol(new MessagePackHubProtocol());
  if (stateful) builder.withStatefulReconnect();
  return builder.build();
}

/** The exit code, once it is known how the deployment ended. */
function outcome(event: string, argument: unknown): number | undefined {
  switch (event) {
    case "DeploymentCompleted":
      return 0;
    case "DeploymentFailed":
      return 3;
    case "Subscribed":
      // It may have ended before we came.
      switch ((argument as Subscription | null)?.snapshot?.status) {
        case "succeeded":
          return 0;
        case "failed":
        case "rolledBack":
          return 3;
      }
  }
  return undefined;
}

async function watch(settings: Settings): Promise<number> {
  const connection = connect(settings);
  const one = settings.topic.method === "SubscribeToDeployment";
  const ended = new Promise<number>((end, fail) => {
    follow(connection, settings.topic, (event, argument) => {
      console.log(JSON.stringify({ event, argument }));
      const code = one ? outcome(event, argument) : undefined;
      if (code !== undefined) end(code);
    }).catch(fail);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => end(one ? 130 : 0));
  });
  try {
    return await ended;
  } finally {
    // A courtesy to the engine. One that does not answer shall not keep us.
    await Promise.race([connection.stop(), sleep(1_000)]);
  }
}

async function main(): Promise<number> {
  let known: Settings;
  try {
    known = settings();
  } catch (error) {
    console.error(`${String(error)}\n\n${USAGE}`);
    return 2;
  }
  try {
    return await watch(known);
  } catch (error) {
    console.error(String(error));
    return 1;
  }
}

// Not `exitCode`: sockets that the client keeps open for reuse would keep the process.
process.exit(await main());
