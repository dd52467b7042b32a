// Dialogs: Escape and a click beside them close them, and focus goes back to where it was.

/** Prepare a <dialog>; `closed` runs after it was closed. */
export function prepare(dialog, closed = () => {}) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", closed);
  return dialog;
}

/** Open it with new content. */
export function open(dialog, ...content) {
  dialog.replaceChildren(...content);
  if (!dialog.open) dialog.showModal();
  else dialog.querySelector("[autofocus]")?.focus(); // what had it is gone
  dialog.scrollTop = 0;
}
