// A subscription to one deployment that survives lost connections.

import { EVENTS } from "./deployment.js";

/**
 * Connects, subscribes, and reconnects until it is stopped. `listener` is notified of the
 * connection's state, of each subscription and of each event; of nothing once stopped.
 */
export function watch({ url, token, id }, listener) {
  const { HubConnectionBuilder, HubConnectionState, LogLevel } = window.signalR;
  // {epoch, offset} of the last event seen. Opaque: send it back, never compare it.
  let position = null;
  let subscribed = Promise.resolve();
  let stopped = false;

  const connection = new HubConnectionBuilder()
    .withUrl(`${url}/hubs/deployments`, {
      accessTokenFactory: () => token,
      // The token is enough. Without cookies, the engine can allow any origin.
      withCredentials: false,
    })
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds({ previousRetryCount, retryReason }) {
        reconnecting(retryReason);
        return retryDelay(previousRetryCount);
      },
    })
    // At a more verbose level the client logs the socket's URL, which contains the token.
    .configureLogging(LogLevel.Warning)
    .build();

  function close(detail) {
    if (stopped) return;
    stopped = true;
    connection.stop();
    listener.connection("closed", detail);
  }

  function reconnecting(error) {
    if (!stopped) listener.connection("reconnecting", reasonOf(error));
  }

  function subscribe(attempts = 0) {
    const { connectionId } = connection;
    const isCurrent = () =>
      connection.state === HubConnectionState.Connected && connection.connectionId === connectionId;
    subscribed = connection.invoke("SubscribeToDeployment", id, position).then(
      (subscription) => {
        if (stopped) return;
        listener.connection("live", "");
        listener.subscribed(subscription, position !== null);
        position = positionOf(subscription);
      },
      async (error) => {
        // If the connection was lost, `onreconnected` subscribes again.
        if (!isCurrent()) return;
        // An error without a reason is an internal error of the engine, and may pass.
        if (!/on the server\.$/.test(error.message)) return close(reasonOf(error));
        reconnecting(error);
        await sleep(retryDelay(attempts));
        if (isCurrent()) subscribe(attempts + 1);
      },
    );
  }

  async function start() {
    // `withAutomaticReconnect` applies only after the first connection.
    for (let attempts = 0; !stopped; attempts += 1) {
      try {
        await connection.start();
        return subscribe();
      } catch (error) {
        // The client reports the status of a rejected negotiation only in this text. For these
        // three, the user must change the fields; a retry would fail again.
        const rejected = /negotiation.*Status code '40[134]'/s.test(error.message);
        if (rejected) return close(reasonOf(error));
        reconnecting(error);
        await sleep(retryDelay(attempts));
      }
    }
  }

  for (const event of EVENTS) {
    connection.on(event, (argument) => {
      // The first events may arrive in one frame with the answer to the subscription, and are
      // dispatched before its promise continues. So each event waits for the promise.
      subscribed.then(() => {
        if (stopped) return;
        position = positionOf(argument);
        listener.event(event, argument);
      });
    });
  }
  connection.onreconnected(() => subscribe());
  connection.onclose((error) => {
    close(error ? reasonOf(error) : "the engine closed the connection");
  });
  start();

  return { stop: () => close("") };
}

/** Drops all other fields: the engine accepts at most 32 KiB, and a snapshot may be larger. */
function positionOf({ epoch, offset }) {
  return { epoch, offset };
}

/** The `detail` of the engine's answer (RFC 9457), if the error's text contains the answer. */
function reasonOf({ message }) {
  try {
    return JSON.parse(message.match(/\{.*\}/s)[0]).detail;
  } catch {
    return message;
  }
}

function sleep(millis) {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

/** The delay before a retry in milliseconds. Random, so that not all pages reconnect to a
 * restarted engine at once. */
function retryDelay(attempts) {
  return Math.random() * Math.min(5_000, 250 * 2 ** attempts);
}
