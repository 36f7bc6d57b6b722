// The ticket dispenser: its keys, its lamps, the paper in its slot and the tickets taken from it.

import { makeKey } from "./fingers.js";
import { arrange, byId, made, setText } from "./made.js";
import { isReprint, isTorn, isVoid, numberOn, paperContent } from "./paper.js";
import { inWords, named, word } from "./words.js";

export const DISPENSER_LETTERS = ["z", "x", "v", "b"];
const SLIDE_MS_PER_PX = 2.2;
const LINE_MS = 100; // a printer feeds line by line
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const keys = new Map();
const lamps = new Map();
const papers = new Map();
let newestShown = null;
let strip = null;

export function setUpDispenser() {
  inWords(() => {
    setText(byId("dispenser-title"), word("dispenserPlate"));
    setText(byId("tray-title"), word("tray"));
    byId("dispenser").setAttribute("aria-label", word("dispenser"));
    byId("tray").dataset.empty = word("trayEmpty");
    for (const paper of papers.values()) labelCard(paper);
  });
  byId("magnifier").addEventListener("click", () => byId("magnifier").close());
}

export function showDispenser(dispenser, services) {
  for (const [index, state] of dispenser.keys.entries()) {
    if (!keys.has(state.key)) addKey(state, services, index);
    const button = keys.get(state.key);
    button.classList.toggle("down", state.down || state.stuck);
    button.classList.toggle("stuck", state.stuck);
  }
  showLamps(byId("dispenser-lamps"), lamps, dispenser.lamps);
  const root = byId("dispenser");
  root.classList.toggle("unplugged", !dispenser.plugged);
  root.classList.toggle("unserved", dispenser.plugged && !dispenser.served);
}

function addKey(state, services, index) {
  const service = services.find((each) => each.id === state.key);
  const priority = !service;
  const prefix = made("b", { class: "prefix" }, service?.prefix ?? "♥");
  const first = made("span", { class: "first" });
  const second = made("span", { class: "second" });
  const letter = made("kbd", {}, (DISPENSER_LETTERS[index] ?? "").toUpperCase());
  const kind = priority ? "priority" : `service-${index}`;
  const button = made("button", { type: "button", class: `service ${kind}` }, prefix,
    made("span", { class: "names" }, first, second), letter);
  makeKey(button, "dispenser", state.key);
  inWords(() => {
    setText(first, named(state.name));
    setText(second, document.documentElement.lang.startsWith("zh") ? state.name.en : state.name.zh);
    button.setAttribute("aria-label", named(state.name));
  });
  byId("dispenser-keys").append(button);
  keys.set(state.key, button);
}

/** Lamps in a row: `known` remembers their elements by name. */
export function showLamps(row, known, states) {
  for (const state of states) {
    if (!known.has(state.lamp)) {
      const text = made("span");
      const lamp = made("li", { class: `lamp ${state.lamp}`, "data-lamp": state.lamp }, made("i"), text);
      inWords(() => setText(text, named(state.name)));
      row.append(lamp);
      known.set(state.lamp, lamp);
    }
    known.get(state.lamp).classList.toggle("lit", state.lit);
  }
}

// --- paper -----------------------------------------------------------------------------------------

/** The printer's state, its half ticket, and the last pieces of paper, oldest first. */
export function showPrinter(printer, sections) {
  const numbers = printer.papers;
  for (const number of papers.keys()) if (!numbers.includes(number)) papers.delete(number);
  for (const number of numbers) {
    if (!papers.has(number)) papers.set(number, card(sections[`paper/${number}`]));
  }
  const newest = numbers.at(-1) ?? null;
  byId("dispenser").classList.toggle("printer-off", !printer.powered);
  showStrip(printer.strip);
  if (newest !== newestShown) {
    const first = newestShown === null;
    newestShown = newest;
    if (newest !== null) slideOut(sections[`paper/${newest}`], first);
  }
  const older = numbers.filter((number) => number !== newest).reverse();
  arrange(byId("tray"), older.slice(0, 4).map((number) => papers.get(number).element));
}

function showStrip(items) {
  if (!items.length) {
    strip?.remove();
    strip = null;
    return;
  }
  const half = made("div", { class: "paper strip", title: word("halfPaper") }, ...paperContent(items));
  if (strip) strip.replaceWith(half);
  else byId("outlet").append(half);
  strip = half;
}

function slideOut(paper, atOnce) {
  const sheet = made("button", { type: "button", class: `paper${marks(paper)}` }, ...paperContent(paper.items));
  sheet.setAttribute("aria-label", word("paperOf", { n: numberOn(paper) ?? "" }));
  sheet.dataset.paper = paper.number;
  sheet.addEventListener("click", () => magnify(paper));
  const outlet = byId("outlet");
  for (const old of outlet.querySelectorAll("button.paper")) old.remove();
  outlet.prepend(sheet);
  if (atOnce || STILL.matches) return;
  const height = sheet.offsetHeight;
  const duration = Math.min(1100, height * SLIDE_MS_PER_PX);
  sheet.animate([{ transform: `translateY(-${height}px)` }, { transform: "none" }], {
    duration,
    easing: `steps(${Math.ceil(duration / LINE_MS)})`,
  });
}

function card(paper) {
  const number = made("b");
  const note = made("small");
  const element = made("button", { type: "button", class: `card${marks(paper)}` }, number, note);
  element.addEventListener("click", () => magnify(paper));
  setText(number, numberOn(paper) ?? "—");
  const made_ = { paper, element, note };
  labelCard(made_);
  return made_;
}

function labelCard({ paper, element, note }) {
  setText(note, isTorn(paper) ? word("torn") : isVoid(paper) ? word("void") : printedTime(paper));
  element.setAttribute("aria-label", word("paperOf", { n: numberOn(paper) ?? "" }));
}

function printedTime(paper) {
  for (const item of paper.items) {
    const time = item.kind === "text" && /\d{2}:\d{2}$/.exec(item.text.trim());
    if (time) return time[0];
  }
  return "";
}

function marks(paper) {
  return (isTorn(paper) ? " torn" : "") + (isVoid(paper) || isReprint(paper) ? " marked" : "") +
    (paper.interrupted ? " interrupted" : "");
}

function magnify(paper) {
  const title = made("h2", { id: "magnifier-title", class: "unseen" }, word("magnifier", { n: numberOn(paper) ?? "" }));
  const close = made("button", { type: "button", class: "plain" }, word("close"));
  const sheet = made("div", { class: `paper${marks(paper)}` }, ...paperContent(paper.items));
  byId("magnifier").replaceChildren(title, sheet, close);
  byId("magnifier").showModal();
}
