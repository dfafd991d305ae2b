// One subscription to one deployment, kept through every cut of the connection.

import { EVENTS } from "./deployment.js";

/**
 * Connects and subscribes, and comes back until it is stopped; then it is silent.
 * `tell` hears of the connection's state, of each subscription, and of each event.
 */
export function watch({ url, token, id }, tell) {
  const { HubConnectionBuilder, HubConnectionState, LogLevel } = window.signalR;
  // {epoch, offset} as last seen. Opaque: given back, never compared.
  let position = null;
  let subscribed = Promise.resolve();
  let stopped = false;

  const connection = new HubConnectionBuilder()
    .withUrl(`${url}/hubs/deployments`, {
      accessTokenFactory: () => token,
      // The token is all that is needed; without cookies any origin may be allowed.
      withCredentials: false,
    })
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds({ previousRetryCount, retryReason }) {
        reconnecting(retryReason);
        return backOff(previousRetryCount);
      },
    })
    // One level more, and the client writes the socket's URL with the token to the console.
    .configureLogging(LogLevel.Warning)
    .build();

  function close(detail) {
    if (stopped) return;
    stopped = true;
    connection.stop();
    tell.connection("closed", detail);
  }

  function reconnecting(error) {
    if (!stopped) tell.connection("reconnecting", reason(error));
  }

  function subscribe(tries = 0) {
    const { connectionId } = connection;
    const isHere = () =>
      connection.state === HubConnectionState.Connected && connection.connectionId === connectionId;
    subscribed = connection.invoke("SubscribeToDeployment", id, position).then(
      (subscription) => {
        if (stopped) return;
        tell.connection("live", "");
        tell.subscribed(subscription, position !== null);
        position = reached(subscription);
      },
      async (error) => {
        // Where the connection was lost, `onreconnected` subscribes once more.
        if (!isHere()) return;
        // An error without a reason is the engine's own, and may pass.
        if (!/on the server\.$/.test(error.message)) return close(reason(error));
        reconnecting(error);
        await pause(backOff(tries));
        if (isHere()) subscribe(tries + 1);
      },
    );
  }

  async function start() {
    // `withAutomaticReconnect` begins only after the first connection.
    for (let tries = 0; !stopped; tries += 1) {
      try {
        await connection.start();
        return subscribe();
      } catch (error) {
        // The client gives the status of a refused negotiation in the text only. These
        // three want other fields, not another try.
        if (/negotiation.*Status code '40[134]'/s.test(error.message)) return close(reason(error));
        reconnecting(error);
        await pause(backOff(tries));
      }
    }
  }

  for (const event of EVENTS) {
    connection.on(event, (argument) => {
      // The first events may share a frame with the answer to the subscription. They
      // are dispatched before a promise goes on, so each waits for its turn.
      subscribed.then(() => {
        if (stopped) return;
        position = reached(argument);
        tell.event(event, argument);
      });
    });
  }
  connection.onreconnected(() => subscribe());
  connection.onclose((error) => close(error ? reason(error) : "the engine closed the connection"));
  start();

  return { stop: () => close("") };
}

/** Nothing but the position: what is sent back is limited to 32 KiB, a snapshot is not. */
function reached({ epoch, offset }) {
  return { epoch, offset };
}

/** The engine's own words, where the client's text holds its whole answer (RFC 9457). */
function reason({ message }) {
  try {
    return JSON.parse(message.match(/\{.*\}/s)[0]).detail;
  } catch {
    return message;
  }
}

function pause(millis) {
  return new Promise((go) => setTimeout(go, millis));
}

/** At random, or all pages would come back to a restarted engine in the same moment. */
function backOff(tries) {
  return Math.random() * Math.min(5_000, 250 * 2 ** tries);
}
