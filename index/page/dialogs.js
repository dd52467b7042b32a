// Dialogs: Escape and a click beside them close them, and focus goes back to where it was.

import { button, el } from "./dom.js";

/** Prepare a <dialog>; `closed` runs after it was closed. */
export function prepare(dialog, closed = () => {}) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", closed);
  return dialog;
}

/** Open it with new content; what has a `data-focus` keeps the focus where that is shown anew. */
export function open(dialog, ...content) {
  openIn(dialog, dialog, ...content);
}

/** Open it with new content in a part of it. */
export function openIn(dialog, place, ...content) {
  const had = dialog.contains(document.activeElement) ? document.activeElement.dataset.focus : "";
  place.replaceChildren(...content.filter(Boolean));
  if (!dialog.open) dialog.showModal();
  else (dialog.querySelector(`[data-focus="${had}"]`) ?? dialog.querySelector("[autofocus]"))?.focus();
  dialog.scrollTop = 0;
}

/** Ask; a promise of whether it was agreed to. */
export function confirmed(dialog, { title, text, yes }) {
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.returnValue = "";
    open(dialog, el("h2", { id: "confirm-title" }, title), el("p", {}, text),
      el("div", { class: "buttons" }, button("Cancel", () => dialog.close("no"), { autofocus: true }),
        button(yes, () => dialog.close("yes"), { class: "primary", id: "confirm-yes" })));
  });
}
