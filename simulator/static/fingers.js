// Fingers on keys: pointer or keyboard down is down, up is up, so a long hold is a long hold.

const held = new Map(); // id of whatever holds → release

let send = () => {};

export function fingersGoTo(sender) {
  send = sender;
}

/** Down, until `letGo` with the same id. */
export function hold(id, at, key, button = null) {
  if (held.has(id)) return;
  send({ do: "hold", at, key });
  button?.classList.add("held");
  held.set(id, () => {
    send({ do: "release", at, key });
    button?.classList.remove("held");
  });
}

export function letGo(id) {
  held.get(id)?.();
  held.delete(id);
}

export function letGoOfAll() {
  for (const id of [...held.keys()]) letGo(id);
}

/** Make a button a key of the device `at`. */
export function makeKey(button, at, key) {
  button.dataset.at = at;
  button.dataset.key = key;
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    hold(`pointer-${event.pointerId}`, at, key, button);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(end, (event) => letGo(`pointer-${event.pointerId}`));
  }
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    if (!event.repeat) hold(`focus-${event.key}`, at, key, button);
    event.preventDefault();
  });
  button.addEventListener("keyup", (event) => {
    if (event.key === " " || event.key === "Enter") {
      letGo(`focus-${event.key}`);
      event.preventDefault();
    }
  });
  button.addEventListener("blur", () => {
    letGo("focus- ");
    letGo("focus-Enter");
  });
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
  button.addEventListener("click", (event) => {
    if (event.detail === 0) send({ do: "press", at, key }); // by an assistive technology
  });
}

addEventListener("blur", letGoOfAll);
document.addEventListener("visibilitychange", () => document.hidden && letGoOfAll());
