// Builds the page into dist/, with its own copy of the SignalR client: a page that handles a
// token should load nothing from other servers.

import { cp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const here = import.meta.dirname;
const dist = join(here, "dist");
const client = dirname(createRequire(import.meta.url).resolve("@microsoft/signalr/package.json"));

await rm(dist, { recursive: true, force: true });
await cp(join(here, "src"), dist, { recursive: true });
await cp(join(client, "dist/browser/signalr.min.js"), join(dist, "signalr.min.js"));
