// Shared by the scripts: connecting to the engine, and writing to the test, which reads one
// JSON object a line.

import {
  HttpTransportType,
  HubConnectionBuilder,
  LogLevel,
} from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

export const EVENTS = [
  "DeploymentStarted",
  "DeploymentStatusChanged",
  "DeploymentProgress",
  "NodeChanged",
  "ApprovalRequested",
  "DeploymentPromoted",
  "SoakJudged",
  "DeploymentCompleted",
  "DeploymentFailed",
];

const TRANSPORTS = {
  websockets: HttpTransportType.WebSockets,
  sse: HttpTransportType.ServerSentEvents,
  longpolling: HttpTransportType.LongPolling,
};

// Standard input ends when the test is gone: then exit.
process.stdin.on("end", () => process.exit(1));
process.stdin.resume();

/** Sends an object to the test. */
export function sendToTest(object) {
  process.stdout.write(`${JSON.stringify(object)}\n`);
}

/** A builder for a connection to a hub. `options` are options of `withUrl`. */
export function hubBuilder(hub, transport, protocol, options) {
  const builder = new HubConnectionBuilder()
    .withUrl(process.env.HOTSWAP_URL + hub, { transport: TRANSPORTS[transport], ...options })
    // The client's logger writes to standard output, which the test reads.
    .configureLogging(LogLevel.None);
  if (protocol === "messagepack") builder.withHubProtocol(new MessagePackHubProtocol());
  return builder;
}

/** Calls `handler` with each event and its argument, in the order in which the events arrived. */
export function onEvents(connection, handler) {
  for (const event of EVENTS) connection.on(event, (argument) => handler(event, argument));
}

/** The error message of a call that must fail. */
export async function errorOf(call) {
  try {
    return { unexpectedAnswer: await call };
  } catch (error) {
    return error.message;
  }
}
