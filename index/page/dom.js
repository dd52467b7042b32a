// Elements, made without HTML: whatever comes from a dataset is text.

/** An element; `properties` are attributes, `on…` functions listeners; children are nodes or text. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The element of an id. */
export const byId = (id) => document.getElementById(id);

/** A button that is no form's. */
export const button = (text, onclick, properties = {}) =>
  el("button", { type: "button", onclick, ...properties }, text);

/** Show a text, or hide the element where there is none. */
export function say(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

/** Whether keys that are pressed now are meant for a field. */
export const typing = (event) =>
  event.target instanceof Element && event.target.matches("input:not([type=checkbox]), textarea, select");

/** Have the browser save a file. */
export function saveFile(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // it is read after the click
}

/** A function that runs once its calls have ceased for a while. */
export function later(milliseconds, run) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), milliseconds);
  };
}

/** Thousands with separators. */
export const count = (number) => number.toLocaleString("en");

/** "1 row", "2 rows". */
export const some = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
