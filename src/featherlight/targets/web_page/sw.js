// Serves the files of one version from the browser's own storage. FILES, above, has the checksum of each: what a host
// gives in the middle of being updated is not kept.

const KEPT = `featherlight ${self.registration.scope} `; // other folders of this host have their own
const CACHE = KEPT + Object.values(FILES).join(" ");

self.addEventListener("install", (event) => event.waitUntil(fill()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));
self.addEventListener("message", ({ data }) => data === "take over" && self.skipWaiting());
self.addEventListener("fetch", (event) => {
  const { url, method } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function fill() {
  const cache = await caches.open(CACHE);
  await Promise.all(Object.entries(FILES).map(async ([name, sum]) => cache.put(name, await get(name, sum))));
}

/** A file as it should be; past the browser's usual cache, if that has an older one. */
async function get(name, integrity) {
  try {
    return await ask(name, { integrity });
  } catch {
    return ask(name, { integrity, cache: "reload" });
  }
}

async function ask(name, options) {
  const response = await fetch(name, options);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response;
}

async function takeOver() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(KEPT) && name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request.url.replace(/index\.html(?=$|[?#])/, ""), { ignoreSearch: true });
  return kept ?? fetch(request);
}
