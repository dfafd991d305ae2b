// A subscription to a hub that survives lost connections.

/**
 * Connects, subscribes, and reconnects until it is stopped. `client` has these functions:
 *
 * - `connection(name, detail)`: the connection is `live`, `reconnecting` or `closed`;
 * - `subscribe(invoke)`: calls the method that subscribes, and returns what `invoke` returns;
 * - `subscribed(result)`: the method has answered;
 * - `event(name, argument)`: one of `events` has come. Always after `subscribed`.
 *
 * None of them is called once it is stopped.
 */
export function connect({ url, token, hub }, events, client) {
  const { HubConnectionBuilder, HubConnectionState, LogLevel } = window.signalR;
  let subscribed = Promise.resolve();
  let stopped = false;

  const connection = new HubConnectionBuilder()
    .withUrl(`${url}${hub}`, {
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
    client.connection("closed", detail);
  }

  function reconnecting(error) {
    if (!stopped) client.connection("reconnecting", reasonOf(error));
  }

  function subscribe(attempts = 0) {
    const { connectionId } = connection;
    const isCurrent = () =>
      connection.state === HubConnectionState.Connected && connection.connectionId === connectionId;
    subscribed = client.subscribe((...call) => connection.invoke(...call)).then(
      (result) => {
        if (stopped) return;
        client.connection("live", "");
        client.subscribed(result);
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

  for (const event of events) {
    connection.on(event, (argument) => {
      // The first events may arrive in one frame with the answer to the subscription, and are
      // dispatched before its promise continues. So each event waits for the promise.
      subscribed.then(() => {
        if (!stopped) client.event(event, argument);
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
