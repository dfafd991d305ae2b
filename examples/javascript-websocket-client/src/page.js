import { NOTHING, next, phase, sentence, STATUSES } from "./deployment.js";
import { watch } from "./watch.js";

const $ = (id) => document.getElementById(id);
const fields = { url: $("url"), token: $("token"), id: $("id") };

let watching;
let state = NOTHING;

takeFragment();
addEventListener("hashchange", takeFragment);

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  watching?.stop();
  $("log").replaceChildren();
  show(NOTHING);
  showConnection("reconnecting", "");
  const asked = {
    url: fields.url.value.trim().replace(/\/+$/, ""),
    token: fields.token.value.trim(),
    id: fields.id.value.trim(),
  };
  watching = watch(asked, {
    connection: showConnection,
    subscribed(subscription, again) {
      if (subscription.snapshot) show(subscription.snapshot);
      log("Subscribed", subscription, told(subscription, again));
    },
    event(event, argument) {
      show(next(state, event, argument));
      log(event, argument, sentence(event, argument));
    },
  });
});

$("disconnect").addEventListener("click", () => watching?.stop());

/** Fields may come in the fragment, which browsers do not send to servers. It holds a
 * token, so it is taken out of the address bar, and of the history, before all else. */
function takeFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  if (!Object.keys(fields).some((name) => given.has(name))) return;
  for (const [name, field] of Object.entries(fields)) {
    // What a link does not name it does not keep: a token must not go to another engine.
    field.value = given.get(name) ?? field.defaultValue;
  }
}

function told({ recovered }, again) {
  if (recovered) return "resumed: what was missed follows";
  if (again) return "what was missed cannot be told: the state was replaced by a new one";
  return "the state as it is now";
}

function showConnection(name, detail) {
  $("connection").dataset.state = name;
  setText("connection", name);
  setText("detail", detail);
}

function show(now) {
  state = now;
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

/** Writes only what differs: screen readers tell each change of a live region. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function nodeItem(node) {
  const item = element("li", "", element("strong", node.id), element("span", phase(node)));
  item.dataset.node = node.id;
  item.dataset.phase = node.phase;
  item.children[1].className = "phase";
  for (const more of [node.before && `before: ${node.before}`, node.error?.reason]) {
    if (more) item.append(Object.assign(element("span", more), { className: "quiet" }));
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
  // Whoever has scrolled up to read stays there.
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

/** Text is set as text: nothing that the engine tells becomes markup. */
function element(name, text, ...children) {
  const made = document.createElement(name);
  made.append(text, ...children);
  return made;
}
