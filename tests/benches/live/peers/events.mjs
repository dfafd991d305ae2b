// Shared by both servers: the event that they send, and the commands that they follow.

import { createInterface } from "node:readline";

const statuses = ["pending", "paused"];

/** The argument of a DeploymentStatusChanged, as HotSwap sends it. */
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
 * Prints the port, then follows the commands on standard input until that ends: `publish`, or
 * `rate <events a second> <seconds>`. `send` sends an event to all subscribers.
 */
export function serve(server, send) {
  const executionId = process.argv[2];
  let published = 0;
  const publish = () => send(executionId, event(executionId, ++published));

  server.listen(0, "127.0.0.1", 4096, () => console.log(server.address().port));
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      const [command, ...numbers] = line.split(" ");
      if (command === "publish") publish();
      else if (command === "rate") sustain(...numbers.map(Number), publish);
    })
    .on("close", () => process.exit());
}

/** Publishes by the clock, so that a late timer catches up. */
function sustain(rate, seconds, publish) {
  const start = performance.now();
  let published = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - start) * rate) / 1000) + 1;
    for (; published < Math.min(due, rate * seconds); published++) publish();
    if (published === rate * seconds) {
      clearInterval(timer);
      console.log(`done ${published}`);
    }
  }, 1);
}
