import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

import {
  allDeployments,
  retryDelay,
  deployment,
  follow,
  metrics,
  sources,
  type Subscription,
  type Topic,
} from "./subscription.js";

const USAGE = `usage: node dist/watch.js <executionId> | --all | --metrics <environment> | --sources
         [--transport websockets|sse|longpolling] [--protocol json|messagepack] [--stateful]

HOTSWAP_URL is the engine's URL (default http://127.0.0.1:5000), HOTSWAP_TOKEN an API token.
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

function parseSettings(): Settings {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      all: { type: "boolean", default: false },
      metrics: { type: "string" },
      sources: { type: "boolean", default: false },
      transport: { type: "string", default: "websockets" },
      protocol: { type: "string", default: "json" },
      stateful: { type: "boolean", default: false },
    },
  });
  const topics = [
    ...positionals.map(deployment),
    ...(values.all ? [allDeployments()] : []),
    ...(values.metrics === undefined ? [] : [metrics(values.metrics)]),
    ...(values.sources ? [sources()] : []),
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
    throw new Error("server-sent events carry only text: use another transport, or json");
  }
  const token = process.env["HOTSWAP_TOKEN"];
  // A token with other characters is no valid header, and the error would print it.
  if (!token || !/^[!-~]+$/.test(token)) {
    throw new Error("HOTSWAP_TOKEN is unset or not a token: set it to an API token");
  }
  const url = (process.env["HOTSWAP_URL"] ?? "http://127.0.0.1:5000").replace(/\/+$/, "");
  return { url, token, topic, transport, binary, stateful: values.stateful };
}

function connect({ url, token, topic, transport, binary, stateful }: Settings) {
  const builder = new HubConnectionBuilder()
    .withUrl(url + topic.hub, {
      transport,
      // Time-out of negotiation and of messages sent over HTTP, in milliseconds. Polls have
      // their own.
      timeout: 10_000,
      // Not `accessTokenFactory`: for server-sent events that puts the token into the URL,
      // and so into the logs of proxies.
      headers: { Authorization: `Bearer ${token}` },
    })
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds: ({ previousRetryCount, retryReason }) => {
        console.error(`reconnecting: ${retryReason.message}`);
        return retryDelay(previousRetryCount);
      },
    })
    // The client's logger writes to standard output, which is only for events.
    .configureLogging(LogLevel.None);
  if (binary) builder.withHubProtocol(new MessagePackHubProtocol());
  if (stateful) builder.withStatefulReconnect();
  return builder.build();
}

/** The exit code if the event says how the deployment ended, else undefined. */
function exitCodeOf(event: string, argument: unknown): number | undefined {
  switch (event) {
    case "DeploymentCompleted":
      return 0;
    case "DeploymentFailed":
      return 3;
    case "Subscribed":
      // If the deployment ended before the subscription, only the snapshot says so.
      switch ((argument as Subscription | null)?.snapshot?.status) {
        case "succeeded":
        case "partial":
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
  const isSingleDeployment = settings.topic.method === "SubscribeToDeployment";
  const ended = new Promise<number>((resolve, reject) => {
    follow(connection, settings.topic, (event, argument) => {
      console.log(JSON.stringify({ event, argument }));
      const code = isSingleDeployment ? exitCodeOf(event, argument) : undefined;
      if (code !== undefined) resolve(code);
    }).catch(reject);
    for (const signal of ["SIGINT", "SIGTERM"]) {
      process.once(signal, () => resolve(isSingleDeployment ? 130 : 0));
    }
  });
  try {
    return await ended;
  } finally {
    // Closes cleanly, but does not wait long for an engine that does not answer.
    await Promise.race([connection.stop(), sleep(1_000)]);
  }
}

async function main(): Promise<number> {
  let settings: Settings;
  try {
    settings = parseSettings();
  } catch (error) {
    console.error(`${String(error)}\n\n${USAGE}`);
    return 2;
  }
  try {
    return await watch(settings);
  } catch (error) {
    console.error(String(error));
    return 1;
  }
}

// Not `exitCode`: sockets that the client keeps open for reuse would keep the process alive.
process.exit(await main());
