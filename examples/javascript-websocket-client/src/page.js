import { applyEvent, describeEvent, INITIAL_STATE, phaseText, STATUSES } from "./deployment.js";
import { conditionText, sourceDetails, watchSources } from "./sources.js";
import { watch } from "./watch.js";

const $ = (id) => document.getElementById(id);
const fields = { url: $("url"), token: $("token"), id: $("id") };

let watchers = [];
let state = INITIAL_STATE;

readFragment();
addEventListener("hashchange", readFragment);

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  stop();
  $("log").replaceChildren();
  showState(INITIAL_STATE);
  showSources([]);
  showConnection("reconnecting", "");
  const target = {
    url: fields.url.value.trim().replace(/\/+$/, ""),
    token: fields.token.value.trim(),
    id: fields.id.value.trim(),
  };
  const watcher = watch(target, {
    connection: showConnection,
    subscribed(subscription, isReconnect) {
      if (subscription.snapshot) showState(subscription.snapshot);
      log("Subscribed", subscription, describeSubscription(subscription, isReconnect));
    },
    event(event, argument) {
      showState(applyEvent(state, event, argument));
      log(event, argument, describeEvent(event, argument));
    },
  });
  watchers = [watcher, watchSources(target, showSources)];
});

$("disconnect").addEventListener("click", stop);

function stop() {
  for (const watcher of watchers) watcher.stop();
}

/** Fills in the fields from the fragment, which browsers do not send to servers. The fragment
 * may contain a token, so it is removed from the address bar and the history first. */
function readFragment() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  if (!Object.keys(fields).some((name) => parameters.has(name))) return;
  for (const [name, field] of Object.entries(fields)) {
    // Reset the other fields: a token must not be sent to the engine of another link.
    field.value = parameters.get(name) ?? field.defaultValue;
  }
}

function describeSubscription({ recovered }, isReconnect) {
  if (recovered) return "resumed: the missed events follow";
  if (isReconnect) return "the missed events are no longer available: here is a new snapshot";
  return "current state";
}

function showConnection(name, detail) {
  $("connection").dataset.state = name;
  setText("connection", name);
  setText("detail", detail);
}

function showState(newState) {
  state = newState;
  const status = STATUSES[state.status] ?? state.status ?? "";
  setText("what", state.moduleName ? `${state.moduleName} ${state.version} → ${state.targetEnvironment}` : "No deployment yet");
  setText("status", status);
  $("status").dataset.status = state.status ?? "";
  setText("stage", state.stage ?? "");
  setText("reason", state.cause?.message ?? state.question ?? "");
  $("progress").setAttribute("aria-valuenow", state.progress);
  $("bar").style.width = `${state.progress}%`;
  setText("percent", `${state.progress} %`);
  $("nodes").replaceChildren(...state.nodes.map(nodeItem));
}

/** Writes only changed text: screen readers announce every write to a live region. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function nodeItem(node) {
  const item = element("li", "", element("strong", node.id), element("span", phaseText(node)));
  item.dataset.node = node.id;
  item.dataset.phase = node.phase;
  item.children[1].className = "phase";
  for (const detail of [node.before && `before: ${node.before}`, node.error?.reason]) {
    if (detail) item.append(Object.assign(element("span", detail), { className: "quiet" }));
  }
  return item;
}

function showSources(sources) {
  $("sources").replaceChildren(...sources.map(sourceItem));
}

function sourceItem(source) {
  const item = element("li", "", element("strong", source.name), element("span", conditionText(source)));
  item.dataset.source = source.name;
  item.dataset.condition = source.condition;
  item.children[1].className = "phase";
  for (const detail of sourceDetails(source)) {
    item.append(Object.assign(element("span", detail), { className: "quiet" }));
  }
  return item;
}

function log(event, argument, text) {
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 4;
  const at = new Date(argument.timestamp ?? argument.updatedAt ?? Date.now());
  const time = element("time", at.toLocaleTimeString());
  time.dateTime = at.toISOString();
  const item = element("li", "", time, ` ${event} `, element("span", text));
  item.dataset.event = event;
  item.dataset.offset = argument.offset;
  $("log").append(item);
  // Do not scroll if the user has scrolled up.
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

/** Adds text as text, so that no text from the engine becomes markup. */
function element(name, text, ...children) {
  const node = document.createElement(name);
  node.append(text, ...children);
  return node;
}
