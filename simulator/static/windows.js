// The windows: the LED bar above, the clerk behind, the caller and the evaluator on the counter.

import { makeKey } from "./fingers.js";
import { showLamps } from "./dispenser.js";
import { LedBar } from "./led.js";
import { byId, made, setAttribute, setText, symbol } from "./made.js";
import { inWords, named, word } from "./words.js";

export const CALLER_LETTERS = {
  call_next: "c", recall: "r", start: "s", finish: "f", no_show: "n", pause: "p", park: "k", sign_on: "g",
};
export const RATING_LETTERS = { very_satisfied: "y", satisfied: "u", neutral: "i", dissatisfied: "o" };
const CLERKS = 3;
const ANNOUNCE_AGAIN_MS = 8000;

const booths = new Map();
let chosen = null;

export function boothOf(number) {
  return booths.get(number);
}

export function chosenWindow() {
  return chosen;
}

/** The window that shortcuts act on. */
export function chooseWindow(number) {
  if (!booths.has(number)) return;
  booths.get(chosen)?.root.classList.remove("chosen");
  chosen = number;
  booths.get(number).root.classList.add("chosen");
}

export function goToWindow(number) {
  chooseWindow(number);
  booths.get(number)?.root.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

export function showWindow(state, services) {
  const number = state.window;
  if (!booths.has(number)) booths.set(number, new Booth(state, services));
  booths.get(number).show(state);
  if (chosen === null) chooseWindow(number);
}

class Booth {
  constructor(state, services) {
    this.number = state.window;
    this.canvas = made("canvas", { class: "led", role: "img" });
    this.bar = new LedBar(this.canvas);
    this.customer = made("div", { class: "customer" });
    this.callerKeys = new Map();
    this.callerLamps = new Map();
    this.evaluatorKeys = new Map();
    this.evaluatorLamps = new Map();
    this.root = made("article", { class: "booth", "data-window": this.number },
      made("div", { class: "bar" }, this.canvas, symbol("plug", "pulled")),
      this.pane(state, services), this.counter(state));
    this.root.addEventListener("pointerdown", () => chooseWindow(this.number));
    this.root.addEventListener("focusin", () => chooseWindow(this.number));
    this.root.style.order = this.number;
    byId("windows").append(this.root);
  }

  pane(state, services) {
    const heading = made("h3", {}, String(this.number));
    const skills = made("p", { class: "skills" });
    const clerk = made("p", { class: "clerk-id" });
    inWords(() => {
      heading.setAttribute("aria-label", word("window", { n: this.number }));
      this.root?.setAttribute("aria-label", word("window", { n: this.number }));
      const taken = state.skills === "all" ? null
        : state.skills.map((id) => named(services.find((service) => service.id === id)?.name ?? {}));
      setText(skills, taken ? taken.join(word("and")) : word("everything"));
      setText(clerk, word("clerk", { id: state.clerk }));
    });
    return made("div", { class: "pane" },
      made("div", { class: "plate" }, heading), made("div", { class: "sign" }, skills, clerk),
      made("div", { class: "behind" }, symbol(`clerk-${this.number % CLERKS}`, "clerk")), this.customer);
  }

  counter(state) {
    this.caller = made("div", { class: "caller device", role: "group" });
    this.evaluator = made("div", { class: "evaluator device", role: "group" });
    this.callerRow = made("ul", { class: "lamps" });
    this.evaluatorRow = made("ul", { class: "lamps" });
    const callerTitle = made("span", { class: "unplugged-note" });
    const evaluatorTitle = made("span", { class: "unplugged-note" });
    const keys = made("div", { class: "keys" });
    const faces = made("div", { class: "faces" });
    for (const key of state.caller.keys) keys.append(this.callerKey(key));
    for (const key of state.evaluator.keys) faces.append(this.face(key));
    this.caller.append(this.callerRow, callerTitle, keys);
    this.evaluator.append(this.evaluatorRow, evaluatorTitle, faces);
    inWords(() => {
      this.caller.setAttribute("aria-label", word("caller", { n: this.number }));
      this.evaluator.setAttribute("aria-label", word("evaluator", { n: this.number }));
      setText(callerTitle, word("unplugged"));
      setText(evaluatorTitle, word("unplugged"));
    });
    return made("div", { class: "counter" }, this.caller, this.evaluator);
  }

  callerKey(state) {
    const text = made("span");
    const letter = made("kbd", {}, (CALLER_LETTERS[state.key] ?? "").toUpperCase());
    const button = made("button", { type: "button", class: `key ${state.key}` }, text, letter);
    inWords(() => setText(text, named(state.name)));
    makeKey(button, `caller-${this.number}`, state.key);
    this.callerKeys.set(state.key, button);
    return button;
  }

  face(state) {
    const text = made("span");
    const letter = made("kbd", {}, (RATING_LETTERS[state.key] ?? "").toUpperCase());
    const button = made("button", { type: "button", class: `face ${state.key}` },
      symbol(`face-${state.key}`), text, letter);
    inWords(() => setText(text, named(state.name)));
    makeKey(button, `evaluator-${this.number}`, state.key);
    this.evaluatorKeys.set(state.key, button);
    return button;
  }

  show(state) {
    const { screen } = state;
    const dark = !screen.powered || !screen.plugged;
    this.bar.show(screen, dark);
    const text = dark ? "" : screen.text;
    setAttribute(this.canvas, "aria-label", `${word("screen", { n: this.number })}: ${text}`);
    setAttribute(this.canvas, "data-text", text);
    if (screen.showing !== "dark") setAttribute(this.root, "data-showing", screen.showing);
    this.root.classList.toggle("dark", dark);
    this.showDevice(this.caller, state.caller, this.callerKeys, this.callerRow, this.callerLamps);
    this.showDevice(this.evaluator, state.evaluator, this.evaluatorKeys, this.evaluatorRow, this.evaluatorLamps);
    const lit = new Set(state.evaluator.lamps.filter((lamp) => lamp.lit).map((lamp) => lamp.lamp));
    this.evaluator.classList.toggle("asking", lit.has("asking"));
    if (!dark && screen.showing === "calling") this.announce(screen.text);
  }

  showDevice(device, state, keys, row, lamps) {
    device.classList.toggle("unplugged", !state.plugged);
    device.classList.toggle("unserved", state.plugged && !state.served);
    showLamps(row, lamps, state.lamps);
    for (const key of state.keys) {
      keys.get(key.key).classList.toggle("down", key.down || key.stuck);
      keys.get(key.key).classList.toggle("stuck", key.stuck);
    }
  }

  announce(text) {
    const now = Date.now();
    if (text === this.announced && now - this.announcedAt < ANNOUNCE_AGAIN_MS) return;
    this.announced = text;
    this.announcedAt = now;
    const live = byId("live");
    live.append(made("p", {}, text));
    while (live.childElementCount > 5) live.firstChild.remove();
  }
}
