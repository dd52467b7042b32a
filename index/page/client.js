// A back end: ours, or another frenchcat at an address. A key is kept for its own back end alone,
// until the tab is closed.

/** What a back end refused, in its words. */
export class Problem extends Error {
  /** `code` names the kind of mistake, `wait` is Retry-After in seconds, where the server says it. */
  constructor(status, message, { code = "", wait = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }

  /** Whether the same request may be answered later: no answer, too late, too often, not ready. */
  get passes() {
    return [0, 408, 429].includes(this.status) || this.status >= 500;
  }
}

const waitOf = (response) => Number(response.headers.get("Retry-After")) || 0;

/** Of a body that is no JSON: null; one whose asker has left is an error still. */
function aborted(error) {
  if (error.name === "AbortError") throw error;
  return null;
}

export class Client {
  /** `back` is the address of a back end; "" is the one that the page came from. */
  constructor(back = "") {
    this.back = back && !back.endsWith("/") ? `${back}/` : back;
    const there = back ? URL.canParse(this.back) : true;
    this.base = there ? new URL(this.back || ".", location.href) : null;
  }

  /** Whether it is of another site than the page's. */
  get foreign() {
    return this.base !== null && this.base.origin !== location.origin;
  }

  /** Whether it is the back end that another client is of. */
  same(other) {
    return this.base?.href === other.base?.href;
  }

  get key() {
    return sessionStorage.getItem(`key ${this.base?.origin}`) ?? "";
  }

  set key(value) {
    sessionStorage.setItem(`key ${this.base?.origin}`, value);
  }

  /** The whole address of a path of an answer. */
  address(path) {
    return new URL(path.replace(/^\//, ""), this.base).href;
  }

  get headers() {
    return this.key ? { "X-API-Key": this.key } : {};
  }

  async get(path, signal) {
    return this.answer(path, { headers: this.headers, signal });
  }

  async post(path, body, signal) {
    const headers = { ...this.headers, "Content-Type": "application/json" };
    return this.answer(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  /** Send by another method. */
  async send(method, path, body) {
    const headers = { ...this.headers, ...(body && { "Content-Type": "application/json" }) };
    return this.answer(path, { method, headers, body: body && JSON.stringify(body) });
  }

  /** The file that a body is answered with. */
  async file(path, body) {
    const headers = { ...this.headers, "Content-Type": "application/json" };
    const response = await this.fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) await this.read(response);
    return response.blob();
  }

  async answer(path, request) {
    return this.read(await this.fetch(path, request));
  }

  async read(response) {
    const body = await response.json().catch((error) => aborted(error));
    if (response.ok) return body;
    const said = body?.detail ?? body?.error ?? `the server answered ${response.status}`;
    throw new Problem(response.status, said, { code: body?.code, wait: waitOf(response) });
  }

  async fetch(path, request) {
    if (!this.base) throw new Problem(0, `${this.back} is no back end's address; write one such as https://host/`);
    try {
      return await fetch(this.address(path), request);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, `${this.base.host} does not answer; is it running, and does it allow this page (--cors)?`);
    }
  }

  /** A file and its headers. */
  async got(path) {
    const response = await this.fetch(path, { headers: this.headers });
    if (!response.ok) await this.read(response);
    return { blob: await response.blob(), headers: response.headers };
  }

  /** A picture's file, where a key must be sent for it. */
  async blob(path) {
    const response = await this.fetch(path, { headers: this.headers });
    if (!response.ok) throw new Problem(response.status, "no picture", { wait: waitOf(response) });
    return response.blob();
  }

  /** What becomes of a path: its status, and Retry-After in seconds. */
  async status(path) {
    try {
      const response = await this.fetch(path, { method: "HEAD", headers: this.headers });
      return { status: response.status, wait: waitOf(response) };
    } catch {
      return { status: 0, wait: 0 };
    }
  }
}
