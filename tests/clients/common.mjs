// What the scripts have in common: how to connect, and how to talk with the test, which
// reads one JSON object a line.

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
  "DeploymentCompleted",
  "DeploymentFailed",
];

const TRANSPORTS = {
  websockets: HttpTransportType.WebSockets,
  sse: HttpTransportType.ServerSentEvents,
  longpolling: HttpTransportType.LongPolling,
};

// The test holds the other end; a test that is gone needs nobody to go on.
process.stdin.on("end", () => process.exit(1));
process.stdin.resume();

/** Tells the test. */
export function tell(object) {
  process.stdout.write(`${JSON.stringify(object)}\n`);
}

/** A builder for a hub of the engine; `more` are options of `withUrl`. */
export function build(hub, transport, protocol, more) {
  const builder = new HubConnectionBuilder()
    .withUrl(process.env.HOTSWAP_URL + hub, { transport: TRANSPORTS[transport], ...more })
    // The client's own logger writes to standard output, which the test reads.
    .configureLogging(LogLevel.None);
  if (protocol === "messagepack") builder.withHubProtocol(new MessagePackHubProtocol());
  return builder;
}

/** Calls `hear` with each event and its argument. The handlers run in the order in which the
 * events came. */
export function listen(connection, hear) {
  for (const event of EVENTS) connection.on(event, (argument) => hear(event, argument));
}

/** What a call fails with. */
export async function failure(call) {
  try {
    return { answered: await call };
  } catch (error) {
    return error.message;
  }
}
