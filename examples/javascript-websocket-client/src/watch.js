// A subscription to one deployment that misses no event.

import { connect } from "./connection.js";
import { EVENTS } from "./deployment.js";

/**
 * Watches a deployment until it is stopped. `listener` is notified of the connection's state, of
 * each subscription and of each event; of nothing once stopped.
 */
export function watch({ url, token, id }, listener) {
  // {epoch, offset} of the last event seen. Opaque: send it back, never compare it.
  let position = null;
  return connect({ url, token, hub: "/hubs/deployments" }, EVENTS, {
    connection: listener.connection,
    subscribe: (invoke) => invoke("SubscribeToDeployment", id, position),
    subscribed(subscription) {
      listener.subscribed(subscription, position !== null);
      position = positionOf(subscription);
    },
    event(event, argument) {
      position = positionOf(argument);
      listener.event(event, argument);
    },
  });
}

/** Drops all other fields: the engine accepts at most 32 KiB, and a snapshot may be larger. */
function positionOf({ epoch, offset }) {
  return { epoch, offset };
}
