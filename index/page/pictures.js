// Pictures of rows: from the back end's tars; only of a dataset that holds none, from their sites.
// One that does not come is asked for again, later and later; its place stays meanwhile.

import { saveFile } from "./dom.js";
import { thumbnail } from "./thumbnail.js";

const WAITS_MS = [700, 2000, 6000, 15_000];
const KINDS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };

/** Pictures that were given up for now: functions that ask for them again. */
const given = new Set();
addEventListener("online", () => retryPictures());

/** Ask again for every picture that did not come. */
export function retryPictures() {
  for (const again of [...given]) again();
  given.clear();
}

/** An address that a link or picture may have; "" for any other. */
export function web(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:"].includes(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}

/**
 * Have an <img> show a row's picture, `size` pixels at most, or whole; `broken` is called once,
 * where there is none: the server says so, or its site does not give it.
 */
export function show(image, client, row, { size, broken } = {}) {
  if (row.stored === false) {
    image.referrerPolicy = "no-referrer";
    const address = web(row.url);
    return attempts(image, { load: () => (image.src = address || "data:,"), ask: () => ({ status: 404 }), broken });
  }
  const path = size ? thumbnail(row, size) : row.picture;
  // Of another back end: so that the browser says whose page asks, which that must allow.
  if (client.foreign && !client.key) image.crossOrigin = "anonymous";
  const load = client.key ? () => loadBlob(image, client, path) : () => (image.src = client.address(path));
  return attempts(image, { load, ask: () => client.status(path), broken });
}

async function loadBlob(image, client, path) {
  const address = URL.createObjectURL(await client.blob(path));
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.src = address;
}

/** Load until it is there, it is known to be broken, or it was tried often enough for now. */
function attempts(image, { load, ask, broken }) {
  let tries = 0;
  let tried = false;
  const failed = async (error) => {
    const { status, wait } = error?.status === undefined ? await ask() : error;
    // It is there by now, or it is no picture: then it is not there the next time, either.
    const there = status < 400 && status > 0;
    const passes = [0, 401, 408, 429].includes(status) || status >= 500 || (there && !tried);
    tried = there;
    if (!passes) {
      delete image.dataset.waiting;
      return broken?.();
    }
    image.dataset.waiting = "";
    image.removeAttribute("src"); // its alternative text would fill the frame
    if (tries >= WAITS_MS.length) {
      tries = 0;
      return given.add(attempt);
    }
    const pause = Math.max(WAITS_MS[tries], wait * 1000) * (1 + Math.random() / 2);
    tries += 1;
    setTimeout(attempt, pause);
  };
  const attempt = () => {
    if (image.isConnected || !image.dataset.waiting) Promise.resolve().then(load).catch(failed);
  };
  image.addEventListener("error", () => image.getAttribute("src") && failed());
  image.addEventListener("load", () => delete image.dataset.waiting);
  attempt();
}

/** Have the browser save a row's stored picture; with a key, too, and from another back end. */
export async function save(client, row) {
  const blob = await client.blob(row.picture);
  saveFile(blob, `${row.key}.${KINDS[blob.type.split(";")[0]] ?? "bin"}`);
}
