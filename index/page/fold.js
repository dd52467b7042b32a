// A row of buttons that is a menu where there is no room for it: <details class="fold">.

const wide = matchMedia("(min-width: 600px)");

/** Keep it open on a wide screen; on a narrow one it closes by a choice, Escape and a press beside it. */
export function fold(details) {
  const unfold = () => (details.open = wide.matches);
  wide.addEventListener("change", unfold);
  unfold();
  const close = () => {
    if (wide.matches || !details.open) return;
    // A dialog that is opened by the choice gives the focus back to what is still there.
    if (details.contains(document.activeElement)) details.querySelector("summary").focus({ preventScroll: true });
    details.open = false;
  };
  // First: the choice itself may show the buttons anew.
  details.addEventListener("click", (event) => event.target.closest("button") && close(), true);
  details.addEventListener("change", close);
  details.addEventListener("keydown", (event) => event.key === "Escape" && close());
  addEventListener("pointerdown", (event) => details.contains(event.target) || close());
}
