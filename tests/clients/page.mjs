// Opens the example page in Chromium, and operates it with the keyboard only.
//
//     node page.mjs <address> <executionId> <screenshot>
//
// CHROMIUM is the path of the browser. Sends `focus`: the elements that Tab moves to; then
// `shows`: what the page shows, whenever that changes. When the test sends a line, writes a
// screenshot and sends `report`: what the page shows at the end.

import { once } from "node:events";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

import { sendToTest } from "./common.mjs";

const [address, executionId, screenshotPath] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  // The browser opens only our own page, and containers often have no sandbox.
  chromiumSandbox: false,
});
const page = await browser.newPage({ viewport: { width: 800, height: 1000 } });
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));
page.on("console", (message) => {
  // The client logs each lost connection. Only violations of the policy are errors here.
  if (message.text().includes("Content Security Policy")) errors.push(message.text());
});
await page.exposeBinding("shows", (_, shows) => sendToTest({ shows }));
await page.goto(address);

/** The id of the element with the focus. Reports an element without a visible focus as wrong. */
const focusedElement = () =>
  page.evaluate(() => {
    const element = document.activeElement;
    const isVisible = getComputedStyle(element).outlineStyle !== "none";
    return isVisible ? element.id : `${element.id} without an outline`;
  });

const inputs = { url: process.env.HOTSWAP_URL, token: process.env.HOTSWAP_TOKEN, id: executionId };
const focus = [];
for (let count = 0; count < 6; count += 1) {
  await page.keyboard.press("Tab");
  const id = await focusedElement();
  focus.push(id);
  if (inputs[id] === undefined) continue;
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type(inputs[id]);
}
sendToTest({ focus });
// Back to the connect button.
await page.keyboard.press("Shift+Tab");
await page.keyboard.press("Shift+Tab");

await page.evaluate(() => {
  const text = (id) => document.getElementById(id).textContent;
  let last = "";
  const sendChange = () => {
    const names = ["connection", "status", "stage", "sources"];
    const shows = Object.fromEntries(names.map((name) => [name, text(name)]));
    const current = JSON.stringify(shows);
    if (current !== last) window.shows(shows);
    last = current;
  };
  const changes = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(sendChange).observe(document.body, changes);
});
await page.keyboard.press("Enter");

await once(lines, "line");
await page.screenshot({ path: screenshotPath, fullPage: true });
const report = await page.evaluate(() => {
  const list = (selector, read) => [...document.querySelectorAll(selector)].map(read);
  return {
    title: document.getElementById("what").textContent,
    progress: document.getElementById("progress").getAttribute("aria-valuenow"),
    nodes: list("[data-node]", ({ dataset }) => dataset.phase),
    events: list("[data-event]", ({ dataset, lastElementChild }) => ({
      event: dataset.event,
      argument: { offset: dataset.offset },
      text: lastElementChild.textContent,
    })),
    token: location.href.includes("token"),
  };
});
await browser.close();
sendToTest({ report: { ...report, errors } });
process.exit(0);
