// The virtual hall's page: puts the parts together, and keeps the bar at the top.

import { setUpBench, showBench } from "./bench.js";
import { DISPENSER_LETTERS, setUpDispenser, showDispenser, showPrinter } from "./dispenser.js";
import { fingersGoTo, hold, letGo, letGoOfAll } from "./fingers.js";
import { byId, made, setAttribute, setText } from "./made.js";
import { setUpPeople, showPeople } from "./people.js";
import { CALLER_LETTERS, chosenWindow, goToWindow, RATING_LETTERS, showWindow } from "./windows.js";
import { Wire } from "./wire.js";
import { inWords, language, named, switchLanguage, word } from "./words.js";

const FASTEST = 120;
const SPEED_EVERY_MS = 100;
const TOAST_MS = 5000;
const WIDE = matchMedia("(min-width: 1800px)");
const KEPT_SHORTCUTS = "nowserving.shortcuts";

let sections = {};
let draggingSpeed = false;
let shortcutsOn = true;

inWords(() => {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  document.title = `Now Serving · ${word("title")}`;
});

// --- the bar at the top ----------------------------------------------------------------------------

const programs = new Map();

function setUpTop() {
  inWords(() => {
    setText(byId("speed-label"), word("speed"));
    setText(byId("automatic").lastChild, word("automatic"));
    setText(byId("language"), word("other"));
    byId("language").lang = language() === "zh" ? "en" : "zh-CN";
    byId("help-open").setAttribute("aria-label", word("help"));
    byId("programs").setAttribute("aria-label", word("programs"));
    byId("windows").setAttribute("aria-label", word("windows"));
    showHall();
    showPrograms();
    fillHelp();
    showCentre();
  });
  byId("language").addEventListener("click", switchLanguage);
  byId("automatic").addEventListener("click", () =>
    wire.send({ do: "automatic", on: !sections.people?.automatic }));
  setUpSpeed();
}

function showHall() {
  if (!sections.hall) return;
  const { name, time, speed } = sections.hall;
  setText(byId("hall-name"), named(name));
  setText(byId("clock"), time.slice(11, 16));
  setText(byId("seconds"), time.slice(16, 19));
  if (!draggingSpeed) showSpeed(speed, true);
}

function setUpSpeed() {
  const slider = byId("speed");
  let wanted = null;
  slider.addEventListener("input", () => {
    draggingSpeed = true;
    const value = speedAt(Number(slider.value));
    showSpeed(value, false);
    if (wanted === null) {
      setTimeout(() => {
        wire.send({ do: "speed", value: wanted });
        wanted = null;
      }, SPEED_EVERY_MS);
    }
    wanted = value;
  });
  slider.addEventListener("change", () => setTimeout(() => (draggingSpeed = false), 400));
}

/** The slider is logarithmic: 1× at its left end, 120× at its right. */
function speedAt(place) {
  return Math.max(1, Math.min(FASTEST, Math.round(FASTEST ** (place / 100))));
}

function showSpeed(speed, moveSlider) {
  setText(byId("speed-shown"), `${Math.round(speed)}×`);
  setAttribute(byId("speed"), "aria-valuetext", `${Math.round(speed)}×`);
  const place = String(Math.round((Math.log(speed) / Math.log(FASTEST)) * 100));
  if (moveSlider && byId("speed").value !== place) byId("speed").value = place;
}

function changeSpeed(by) {
  const place = Math.max(0, Math.min(100, Number(byId("speed").value) + by));
  wire.send({ do: "speed", value: speedAt(place) });
}

function showPrograms() {
  if (!sections.programs) return;
  for (const name of ["daemon", "broker", "centre"]) {
    const program = sections.programs[name];
    if (!programs.has(name)) {
      const item = made("li", { "data-program": name }, made("i"), made("b"), made("span"));
      programs.set(name, item);
      byId("programs").append(item);
    }
    const item = programs.get(name);
    const status = program.ready ? "ready" : program.held_down || program.pid === null ? "down" : "starting";
    setAttribute(item, "data-status", status);
    setText(item.children[1], word(name));
    setText(item.children[2], program.ready && name === "daemon" ? `${Math.round(program.rss_mb)} MB` : word(status));
    setAttribute(item, "title", [word(status), word("memory", { mb: program.rss_mb }), name === "broker" ? sections.broker.description : program.status]
      .filter(Boolean).join("\n"));
  }
}

function showAutomatic() {
  setAttribute(byId("automatic"), "aria-checked", String(sections.people?.automatic ?? false));
}

// --- the centre beside it --------------------------------------------------------------------------

let centreWanted = null; // until somebody says otherwise, there where there is room

function showCentre() {
  const url = sections.hall?.centre_url;
  const show = Boolean(url) && (centreWanted ?? WIDE.matches);
  if (byId("centre").hidden === show) byId("centre").hidden = !show;
  document.body.classList.toggle("with-centre", show);
  const button = byId("centre-toggle");
  setAttribute(button, "aria-expanded", String(show));
  setText(button, word(show ? "hideCentre" : "showCentre"));
  setText(byId("centre-title"), word("centre"));
  setText(byId("centre-link"), word("openCentre"));
  setAttribute(byId("centre-frame"), "title", word("centre"));
  if (!url) return;
  setAttribute(byId("centre-link"), "href", url);
  const ready = sections.programs?.centre.ready;
  if (show && ready && byId("centre-frame").src !== url) byId("centre-frame").src = url;
}

byId("centre-toggle").addEventListener("click", () => {
  centreWanted = byId("centre").hidden;
  showCentre();
  // On a narrow screen it opens far below.
  if (centreWanted && !WIDE.matches) byId("centre").scrollIntoView({ behavior: "smooth" });
});
WIDE.addEventListener("change", showCentre);

// --- keys ------------------------------------------------------------------------------------------

function setUpShortcuts() {
  shortcutsOn = remembered() !== "off";
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target.closest("input:not([type=range]), select, textarea")) return;
    if (event.key === "?") {
      openHelp();
      return;
    }
    if (!shortcutsOn || document.querySelector("dialog[open]")) return;
    if (shortcut(event.key.toLowerCase(), event.code)) event.preventDefault();
  });
  addEventListener("keyup", (event) => letGo(`key-${event.code}`));
}

function shortcut(letter, code) {
  if (/^[1-9]$/.test(letter)) {
    goToWindow(Number(letter));
    return true;
  }
  const id = `key-${code}`;
  const atDispenser = DISPENSER_LETTERS.indexOf(letter);
  if (atDispenser >= 0) return holdAt(id, "dispenser", sections.dispenser?.keys[atDispenser]?.key);
  const atCaller = keyOf(CALLER_LETTERS, letter);
  if (atCaller) return holdAt(id, `caller-${chosenWindow()}`, atCaller);
  const atEvaluator = keyOf(RATING_LETTERS, letter);
  if (atEvaluator) return holdAt(id, `evaluator-${chosenWindow()}`, atEvaluator);
  const others = {
    a: () => byId("automatic").click(),
    l: switchLanguage,
    "[": () => changeSpeed(-5),
    "]": () => changeSpeed(5),
  };
  others[letter]?.();
  return letter in others;
}

function keyOf(letters, letter) {
  return Object.keys(letters).find((key) => letters[key] === letter);
}

function holdAt(id, at, key) {
  if (!key) return false;
  hold(id, at, key, document.querySelector(`[data-at="${at}"][data-key="${key}"]`));
  return true;
}

function remembered() {
  try {
    return localStorage.getItem(KEPT_SHORTCUTS);
  } catch {
    return null;
  }
}

function openHelp() {
  fillHelp();
  if (!byId("help").open) byId("help").showModal();
}

function fillHelp() {
  const window_ = sections["window/1"];
  const row = (key, text) => made("div", {}, made("dt", {}, made("kbd", {}, key)), made("dd", {}, text));
  const rows = (keys, letters) => (keys ?? []).filter((key) => letters[key.key])
    .map((key) => row(letters[key.key].toUpperCase(), named(key.name)));
  const group = (title, ...items) => made("section", {}, made("h3", {}, title), made("dl", {}, ...items));
  const box = made("input", { type: "checkbox", id: "shortcuts-on" });
  box.checked = shortcutsOn;
  box.addEventListener("change", () => {
    shortcutsOn = box.checked;
    try {
      localStorage.setItem(KEPT_SHORTCUTS, shortcutsOn ? "on" : "off");
    } catch {
      // storage is switched off: it lasts as long as the page
    }
  });
  const close = made("button", { type: "button", class: "plain" }, word("close"));
  close.addEventListener("click", () => byId("help").close());
  const services = sections.dispenser?.keys ?? [];
  byId("help").replaceChildren(
    made("h2", { id: "help-title" }, word("help")),
    made("div", { class: "columns" },
      group(word("helpWindow"), row("1–9", word("keyWindow")), ...rows(window_?.caller.keys, CALLER_LETTERS)),
      group(word("helpRating"), ...rows(window_?.evaluator.keys, RATING_LETTERS)),
      group(word("helpDispenser"), ...services.map((key, index) => row((DISPENSER_LETTERS[index] ?? "").toUpperCase(), named(key.name)))),
      group(word("helpOther"), row("A", word("keyAutomatic")), row("[ ]", word("keySpeed")), row("L", word("keyLanguage")), row("?", word("keyHelp")))),
    made("p", {}, word("helpHold")),
    made("footer", {}, made("label", {}, box, word("helpOn")), close));
}

byId("help-open").addEventListener("click", openHelp);

// --- the line --------------------------------------------------------------------------------------

let toastTimer = null;

function toast(text) {
  setText(byId("toast"), text);
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (byId("toast").hidden = true), TOAST_MS);
}

let staleSince = null;

function showStale() {
  byId("stale").hidden = staleSince === null;
  document.body.classList.toggle("is-stale", staleSince !== null);
  if (staleSince === null) return;
  const time = staleSince.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  setText(byId("stale"), word("stale", { time }));
}

inWords(showStale);

const unseen = new Set(); // names of sections that have come and are not on the screen yet

/** Everything that has come since the last picture goes into the next; a hidden page has none. */
function showSoon(names, all) {
  sections = all;
  if (!unseen.size) requestAnimationFrame(showAll);
  for (const name of names) unseen.add(name);
}

function showAll() {
  const changed = new Set(unseen);
  unseen.clear();
  show(changed, sections);
}

function show(changed, all) {
  const any = (...wanted) => wanted.some((name) => changed.has(name));
  if (any("hall")) showHall();
  if (any("programs", "broker")) showPrograms();
  if (any("programs") || byId("centre-link").getAttribute("href") !== all.hall.centre_url) showCentre();
  if (any("dispenser")) showDispenser(all.dispenser, all.services);
  if (any("printer")) showPrinter(all.printer, all);
  let windows = false;
  for (const name of changed) {
    if (!name.startsWith("window/") || !all[name]) continue;
    showWindow(all[name], all.services);
    windows = true;
  }
  if (any("people") || windows) {
    showPeople(all.people, all.hall.speed);
    showAutomatic();
  }
  if (windows || any("faults", "figures", "programs", "dispenser")) showBench(all);
}

const wire = new Wire({
  changed: showSoon,
  found() {
    if (document.hidden) tellWhetherLooking();
    staleSince = null;
    showStale();
  },
  lost(since) {
    staleSince ??= since;
    letGoOfAll();
    showStale();
  },
  refused: (why) => toast(word("refused", { why })),
});

/** A hidden page asks the hall for nothing. */
function tellWhetherLooking() {
  wire.send({ do: "look", on: !document.hidden });
}

document.addEventListener("visibilitychange", tellWhetherLooking);

fingersGoTo((action) => wire.send(action));
setUpTop();
setUpDispenser();
setUpPeople();
setUpBench((action) => wire.send(action));
setUpShortcuts();
