// What both servers share: the event that they send, and the orders that they take.

import { createInterface } from "node:readline";

const statuses = ["pending", "paused"];

/** The argument of one DeploymentStatusChanged, as HotSwap's own server sends it. */
function event(executionId, number) {
  return {
    executionId,
    epoch: "01a2098d-0d34-75d1-9505-91336555f491",
    offset: String(number + 1),
    status: statuses[number % 2],
    previousStatus: statuses[(number + 1) % 2],
    updatedAt: Date.now(),
    details: `${number % 2 ? "paused" : "resumed"} by bench#${number}`,
  };
}

/**
 * Tells the bench the port, then does as it says until it goes away: `publish`, or
 * `rate <events a second> <seconds>`. `send` gives one event to all who subscribed.
 */
export function serve(server, send) {
  const executionId = process.argv[2];
  let published = 0;
  const publish = () => send(executionId, event(executionId, ++published));

  server.listen(0, "127.0.0.1", 4096, () => console.log(server.address().port));
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      const [order, ...numbers] = line.split(" ");
      if (order === "publish") publish();
      else if (order === "rate") sustain(...numbers.map(Number), publish);
    })
    .on("close", () => process.exit());
}

/** By the clock, so that a timer that comes late makes up for it. */
function sustain(rate, seconds, publish) {
  const begun = performance.now();
  let done = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) * rate) / 1000) + 1;
    for (; done < Math.min(due, rate * seconds); done++) publish();
    if (done === rate * seconds) {
      clearInterval(timer);
      console.log(`done ${done}`);
    }
  }, 1);
}
