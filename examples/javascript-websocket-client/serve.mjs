// Serves the files in dist/ on the loopback address.

import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

// The page may connect to any engine that the user enters. Scripts and styles must come from
// this server.
const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; " +
    "connect-src http: https: ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

const dist = join(import.meta.dirname, "dist");
const names = await readdir(dist).catch(() => {
  console.error("there is no dist/: run `npm run build` first");
  process.exit(1);
});
// The list of files is fixed before the first request, so no path can reach another file.
const files = new Map(names.map((name) => [`/${name}`, name]));
files.set("/", "index.html");

const server = createServer(async (request, response) => {
  const name = files.get(request.url.split("?", 1)[0]);
  if (name === undefined || !["GET", "HEAD"].includes(request.method)) {
    response.writeHead(name === undefined ? 404 : 405, HEADERS).end();
    return;
  }
  try {
    const body = await readFile(join(dist, name));
    response.writeHead(200, {
      ...HEADERS,
      "content-type": TYPES[extname(name)] ?? "application/octet-stream",
      "content-length": body.length,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  } catch {
    // The file was removed after the start: a build is running.
    response.writeHead(503, HEADERS).end();
  }
});

server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
server.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
