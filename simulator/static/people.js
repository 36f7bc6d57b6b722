// Everybody in the hall: in the waiting area, or in front of a window.

import { arrange, byId, made, setAttribute, setText, symbol } from "./made.js";
import { boothOf } from "./windows.js";
import { inWords, word } from "./words.js";

const LOOKS = 4;
const WALK_MS = 720;
const STEPS = 9; // of a walk: each is a picture that the whole machine waits for
const TOO_FAST_TO_WALK = 30; // times: who is called stands at the window before the next picture
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const figures = new Map();
let shown = null;
let speedShown = 1;
let placesShown = null;

export function setUpPeople() {
  inWords(() => {
    setText(byId("floor-title"), word("floor"));
    if (shown) showPeople(shown, speedShown);
  });
}

/** `speed`: of hall time. */
export function showPeople(people, speed) {
  shown = people;
  speedShown = speed;
  setText(byId("floor-count"), word("counts", { waiting: people.waiting, inHall: people.in_hall }));
  const places = people.customers.map(({ name, window }) => `${name}@${window}`).join();
  if (places === placesShown && people.customers.length) {
    people.customers.forEach(figureOf); // nobody has moved; measuring them all would cost
    return;
  }
  placesShown = places;
  const walking = !STILL.matches && !document.hidden && speed < TOO_FAST_TO_WALK;
  const before = new Map();
  if (walking) {
    for (const [name, { element }] of figures) before.set(name, element.getBoundingClientRect());
  }
  const floor = [];
  const standing = new Map();
  for (const customer of people.customers) {
    const { element } = figureOf(customer);
    const booth = customer.window === null ? null : boothOf(customer.window);
    if (booth) standing.set(booth, element);
    else floor.push(element);
  }
  const here = new Set(people.customers.map((customer) => customer.name));
  for (const name of figures.keys()) if (!here.has(name)) figures.delete(name);
  for (const booth of allBooths()) arrange(booth.customer, standing.has(booth) ? [standing.get(booth)] : []);
  const list = byId("people");
  setAttribute(list, "data-crowd", floor.length > 60 ? "large" : floor.length > 26 ? "middle" : "small");
  arrange(list, floor);
  setAttribute(list, "data-empty", floor.length ? "" : `${word("floorEmpty")}${people.automatic ? "" : "\n" + word("floorAutomatic")}`);
  if (walking) walk(before);
}

function allBooths() {
  const booths = [];
  for (let number = 1; boothOf(number); number++) booths.push(boothOf(number));
  return booths;
}

function figureOf(customer) {
  if (!figures.has(customer.name)) {
    const tag = made("span", { class: "tag" });
    const element = made("li", { class: "person" }, symbol(`person-${customer.name % LOOKS}`), tag);
    element.dataset.coat = (customer.name * 7) % 9;
    figures.set(customer.name, { element, tag });
  }
  const figure = figures.get(customer.name);
  const number = customer.number ?? "…";
  setText(figure.tag, number);
  setAttribute(figure.tag, "data-prefix", customer.number?.[0] ?? "");
  setAttribute(figure.element, "data-doing", customer.doing);
  const doing = word(customer.doing);
  setAttribute(figure.element, "title", customer.window === null
    ? `${number} · ${doing}` : `${number} · ${word("at", { n: customer.window, doing })}`);
  return figure;
}

/** Let everybody who stands elsewhere than before walk there. */
function walk(before) {
  for (const [name, { element }] of figures) {
    const now = element.getBoundingClientRect();
    const old = before.get(name);
    if (!old?.width) {
      continue; // just come in
    }
    const x = old.left - now.left;
    const y = old.top - now.top;
    if (Math.abs(x) + Math.abs(y) < 3) continue;
    element.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], {
      duration: WALK_MS,
      easing: `steps(${STEPS})`,
    });
  }
}
