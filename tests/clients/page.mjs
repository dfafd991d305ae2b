// Opens the example page in Chromium, and works it by the keyboard alone.
//
//     node page.mjs <page> <executionId> <picture>
//
// CHROMIUM is the browser. Tells `focus`, where Tab leads; then what the page shows, whenever
// that changes, as `shows`. Once a line is read, the page has been looked at long enough:
// tells `report`, what it shows in the end, and leaves a picture of it.

import { once } from "node:events";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

import { tell } from "./common.mjs";

const [address, executionId, picture] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  // Nothing but our own page is opened; and in a container there may be no sandbox to have.
  chromiumSandbox: false,
});
const page = await browser.newPage({ viewport: { width: 800, height: 1000 } });
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));
page.on("console", (message) => {
  // The client tells of each lost connection: only what the page may not do counts.
  if (message.text().includes("Content Security Policy")) errors.push(message.text());
});
await page.exposeBinding("shows", (_, shows) => tell({ shows }));
await page.goto(address);

/** The element with the focus; one that nobody can see to have it is none. */
const focused = () =>
  page.evaluate(() => {
    const element = document.activeElement;
    const seen = getComputedStyle(element).outlineStyle !== "none";
    return seen ? element.id : `${element.id} without an outline`;
  });

const given = { url: process.env.HOTSWAP_URL, token: process.env.HOTSWAP_TOKEN, id: executionId };
const focus = [];
for (let count = 0; count < 6; count += 1) {
  await page.keyboard.press("Tab");
  const id = await focused();
  focus.push(id);
  if (given[id] === undefined) continue;
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type(given[id]);
}
tell({ focus });
// Back to the button.
await page.keyboard.press("Shift+Tab");
await page.keyboard.press("Shift+Tab");

await page.evaluate(() => {
  const text = (id) => document.getElementById(id).textContent;
  let last = "";
  const look = () => {
    const shows = { connection: text("connection"), status: text("status"), stage: text("stage") };
    const now = JSON.stringify(shows);
    if (now !== last) window.shows(shows);
    last = now;
  };
  const all = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(look).observe(document.body, all);
});
await page.keyboard.press("Enter");

await once(lines, "line");
await page.screenshot({ path: picture, fullPage: true });
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
tell({ report: { ...report, errors } });
process.exit(0);
