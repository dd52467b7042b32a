// Pictures of rows: from the back end's tars; only of a dataset that holds none, from their sites.

/** An address that a link or picture may have; "" for any other. */
export function web(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:"].includes(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}

/** Have an <img> show a row's picture, `size` pixels at most, or whole; `broken` is called once. */
export async function show(image, client, row, { size, broken } = {}) {
  image.addEventListener("error", () => broken?.(), { once: true });
  if (row.stored === false) {
    image.referrerPolicy = "no-referrer";
    image.src = web(row.url) || "data:,";
    return;
  }
  const path = size ? `${row.thumbnail}?size=${size}` : row.picture;
  if (!client.key) {
    // Of another back end: so that the browser says whose page asks, which that must allow.
    if (client.base?.origin !== location.origin) image.crossOrigin = "anonymous";
    image.src = client.address(path);
    return;
  }
  try {
    const address = URL.createObjectURL(await client.blob(path));
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.src = address;
  } catch {
    broken?.();
  }
}
