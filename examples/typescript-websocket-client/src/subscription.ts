import { setTimeout as sleep } from "node:timers/promises";

import { type HubConnection, HubConnectionState } from "@microsoft/signalr";

/** What to subscribe to: a method of a hub, what it is given, and what then comes. */
export interface Topic {
  readonly hub: string;
  readonly method: string;
  readonly names: readonly string[];
  readonly events: readonly string[];
  /** Whether what was missed can be asked for. */
  readonly resumes: boolean;
}

/** How far a subscription has been seen. Opaque: it is given back, never compared. */
interface Position {
  readonly epoch: string;
  readonly offset: string;
}

/** The answer to a subscription. */
export interface Subscription extends Position {
  readonly recovered: boolean;
  readonly snapshot?: { readonly status?: string };
}

/** Hears of each event, and of each subscription as an event of the name `Subscribed`. */
export type Tell = (event: string, argument: unknown) => void;

const DEPLOYMENT_EVENTS = [
  "DeploymentStarted",
  "DeploymentStatusChanged",
  "DeploymentProgress",
  "NodeChanged",
  "ApprovalRequested",
  "DeploymentCompleted",
  "DeploymentFailed",
];

export function deployment(executionId: string): Topic {
  return {
    hub: "/hubs/deployments",
    method: "SubscribeToDeployment",
    names: [executionId],
    events: DEPLOYMENT_EVENTS,
    resumes: true,
  };
}

export function allDeployments(): Topic {
  return {
    hub: "/hubs/deployments",
    method: "SubscribeToAllDeployments",
    names: [],
    events: DEPLOYMENT_EVENTS,
    resumes: true,
  };
}

export function metrics(environment: string): Topic {
  return {
    hub: "/hubs/metrics",
    method: "SubscribeToMetrics",
    names: [environment],
    events: ["MetricsUpdated"],
    resumes: false,
  };
}

/** Nothing but the position: what is sent back is limited to 32 KiB, a snapshot is not. */
function reached(seen: Position | null): Position | null {
  return seen && { epoch: seen.epoch, offset: seen.offset };
}

/** The wait before a try, in milliseconds. Random, or all watchers of an engine that
 * was restarted would come back in the same moment. */
export function backOff(tries: number): number {
  return Math.random() * Math.min(5_000, 250 * 2 ** tries);
}

/**
 * Connects, subscribes, and subscribes again after every reconnect, from where it was.
 * It does not return; it throws what another try cannot change.
 */
export function follow(connection: HubConnection, topic: Topic, tell: Tell): Promise<never> {
  return new Promise((_, fail) => {
    let position: Position | null = null;
    let subscribed = Promise.resolve();

    const subscribe = (tries = 0): void => {
      const { connectionId } = connection;
      const isHere = (): boolean =>
        connection.state === HubConnectionState.Connected &&
        connection.connectionId === connectionId;
      const given = topic.resumes ? [...topic.names, position] : topic.names;
      subscribed = connection.invoke<Subscription | null>(topic.method, ...given).then(
        (subscription) => {
          if (topic.resumes) position = reached(subscription);
          tell("Subscribed", subscription);
        },
        async (error: unknown) => {
          // Where the connection was lost, `onreconnected` subscribes once more.
          if (!isHere()) return;
          // An error without a reason is the engine's own, and may pass.
          if (!/on the server\.$/.test(String(error))) return fail(error);
          console.error(`subscribing: ${String(error)}`);
          await sleep(backOff(tries));
          if (isHere()) subscribe(tries + 1);
        },
      );
    };

    for (const event of topic.events) {
      connection.on(event, (argument: Position) => {
        // The first events may share a frame with the answer to the subscription. They
        // are dispatched before a promise goes on, so each waits for its turn.
        void subscribed.then(() => {
          if (topic.resumes) position = reached(argument);
          tell(event, argument);
        });
      });
    }
    connection.onreconnected(() => subscribe());
    connection.onclose((error) => fail(error ?? new Error("the engine closed the connection")));
    start(connection).then(() => subscribe(), fail);
  });
}

/** `withAutomaticReconnect` begins only after the first connection; until then it is us. */
async function start(connection: HubConnection): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await connection.start();
    } catch (error) {
      // The client gives the status of a refused negotiation in the text only. Neither
      // the token nor the address gets better by waiting.
      if (/negotiation.*Status code '40[134]'/s.test(String(error))) throw error;
      console.error(`connecting: ${String(error)}`);
      await sleep(backOff(tries));
    }
  }
}
