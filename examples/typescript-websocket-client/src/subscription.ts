import { setTimeout as sleep } from "node:timers/promises";

import { type HubConnection, HubConnectionState } from "@microsoft/signalr";

/** What to subscribe to: a method of a hub, its arguments, and the events that follow. */
export interface Topic {
  readonly hub: string;
  readonly method: string;
  readonly parameters: readonly string[];
  readonly events: readonly string[];
  /** Whether a subscription can resume after the last event seen. */
  readonly canResume: boolean;
}

/** The last event seen. Opaque: send it back, never compare it. */
interface Position {
  readonly epoch: string;
  readonly offset: string;
}

/** The answer to a subscription. */
export interface Subscription extends Position {
  readonly recovered: boolean;
  readonly snapshot?: { readonly status?: string };
}

/** Called for each event, and for each subscription as an event called `Subscribed`. */
export type Listener = (event: string, argument: unknown) => void;

const DEPLOYMENT_EVENTS = [
  "DeploymentStarted",
  "DeploymentStatusChanged",
  "DeploymentProgress",
  "NodeChanged",
  "ApprovalRequested",
  "DeploymentPromoted",
  "SoakProgress",
  "SoakJudged",
  "DeploymentDamaged",
  "EnvironmentChanged",
  "DeploymentCompleted",
  "DeploymentFailed",
];

export function deployment(executionId: string): Topic {
  return {
    hub: "/hubs/deployments",
    method: "SubscribeToDeployment",
    parameters: [executionId],
    events: DEPLOYMENT_EVENTS,
    canResume: true,
  };
}

export function allDeployments(): Topic {
  return {
    hub: "/hubs/deployments",
    method: "SubscribeToAllDeployments",
    parameters: [],
    events: DEPLOYMENT_EVENTS,
    canResume: true,
  };
}

export function metrics(environment: string): Topic {
  return {
    hub: "/hubs/metrics",
    method: "SubscribeToMetrics",
    parameters: [environment],
    events: ["MetricsUpdated"],
    canResume: false,
  };
}

/** The registries that know of nodes: their state now, and after each change. */
export function sources(): Topic {
  return {
    hub: "/hubs/metrics",
    method: "SubscribeToSources",
    parameters: [],
    events: ["SourceChanged"],
    canResume: false,
  };
}

/** Drops all other fields: the engine accepts at most 32 KiB, and a snapshot may be larger. */
function positionOf(seen: Position | null): Position | null {
  return seen && { epoch: seen.epoch, offset: seen.offset };
}

/** The delay before a retry in milliseconds. Random, so that not all watchers reconnect to a
 * restarted engine at once. */
export function retryDelay(attempts: number): number {
  return Math.random() * Math.min(5_000, 250 * 2 ** attempts);
}

/**
 * Connects and subscribes. After every reconnect it resumes the subscription from the last
 * event seen. Never resolves; rejects with an error that a retry would not fix.
 */
export function follow(
  connection: HubConnection,
  topic: Topic,
  listener: Listener,
): Promise<never> {
  return new Promise((_, fail) => {
    let position: Position | null = null;
    let subscribed = Promise.resolve();

    const subscribe = (attempts = 0): void => {
      const { connectionId } = connection;
      const isCurrent = (): boolean =>
        connection.state === HubConnectionState.Connected &&
        connection.connectionId === connectionId;
      const parameters = topic.canResume ? [...topic.parameters, position] : topic.parameters;
      subscribed = connection.invoke<Subscription | null>(topic.method, ...parameters).then(
        (subscription) => {
          if (topic.canResume) position = positionOf(subscription);
          listener("Subscribed", subscription);
        },
        async (error: unknown) => {
          // If the connection was lost, `onreconnected` subscribes again.
          if (!isCurrent()) return;
          // An error without a reason is an internal error of the engine, and may pass.
          if (!/on the server\.$/.test(String(error))) return fail(error);
          console.error(`subscribing: ${String(error)}`);
          await sleep(retryDelay(attempts));
          if (isCurrent()) subscribe(attempts + 1);
        },
      );
    };

    for (const event of topic.events) {
      connection.on(event, (argument: Position) => {
        // The first events may arrive in one frame with the answer to the subscription, and
        // are dispatched before its promise continues. So each event waits for the promise.
        void subscribed.then(() => {
          if (topic.canResume) position = positionOf(argument);
          listener(event, argument);
        });
      });
    }
    connection.onreconnected(() => subscribe());
    connection.onclose((error) => fail(error ?? new Error("the engine closed the connection")));
    start(connection).then(() => subscribe(), fail);
  });
}

/** Makes the first connection: `withAutomaticReconnect` applies only after it. */
async function start(connection: HubConnection): Promise<void> {
  for (let attempts = 0; ; attempts += 1) {
    try {
      return await connection.start();
    } catch (error) {
      // The client reports the status of a rejected negotiation only in this text. A retry
      // does not help against a wrong token or address.
      if (/negotiation.*Status code '40[134]'/s.test(String(error))) throw error;
      console.error(`connecting: ${String(error)}`);
      await sleep(retryDelay(attempts));
    }
  }
}
