// A subscription to the sources of nodes: the registries that the engine watches. The engine sends
// the whole state of a source whenever it changes, so there is nothing to resume: whoever was away
// subscribes again, and gets the present state.

import { connect } from "./connection.js";

/** Calls `show` with all sources, in their order, whenever one has changed, until it is stopped. */
export function watchSources({ url, token }, show) {
  let sources = new Map();
  return connect({ url, token, hub: "/hubs/metrics" }, ["SourceChanged"], {
    // The connection that watches the deployment shows how the engine is.
    connection() {},
    subscribe: (invoke) => invoke("SubscribeToSources"),
    subscribed(subscription) {
      sources = new Map(subscription.sources.map((source) => [source.name, source]));
      show([...sources.values()]);
    },
    event(_, source) {
      sources.set(source.name, source);
      show([...sources.values()]);
    },
  });
}

/** The condition of a source, with a symbol: nobody has to distinguish colours. */
export function conditionText({ condition }) {
  return CONDITIONS[condition] ?? condition;
}

/** What is in a source, and what is wrong with it: one line each. */
export function sourceDetails({ condition, instances, passing, held, invalid, invalidExample, lastError }) {
  const details = [`${instances} ${instances === 1 ? "instance" : "instances"}, ${passing} passing`];
  if (held) details.push(`its last answer lacks ${held.lost}, and is not believed yet`);
  if (invalid) details.push(`${invalid} cannot be nodes: ${invalidExample}`);
  // It is also there after the source has recovered.
  if (lastError && condition !== "healthy") details.push(lastError.message);
  return details;
}

const CONDITIONS = {
  starting: "○ starting",
  healthy: "● healthy",
  stale: "◌ stale",
  held: "◑ held",
};
