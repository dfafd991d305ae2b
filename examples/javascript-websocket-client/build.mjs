// Puts the page together in dist/, with the SignalR client beside it: a page that holds
// a token loads nothing from elsewhere.

import { cp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const here = import.meta.dirname;
const dist = join(here, "dist");
const client = dirname(createRequire(import.meta.url).resolve("@microsoft/signalr/package.json"));

await rm(dist, { recursive: true, force: true });
await cp(join(here, "src"), dist, { recursive: true });
await cp(join(client, "dist/browser/signalr.min.js"), join(dist, "signalr.min.js"));
