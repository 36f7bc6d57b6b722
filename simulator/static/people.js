// Everybody in the hall: in the waiting area, or in front of a window.

import { arrange, byId, made, setText, symbol } from "./made.js";
import { boothOf } from "./windows.js";
import { inWords, word } from "./words.js";

const LOOKS = 4;
const WALK_MS = 700;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const figures = new Map();
let shown = null;
let placesShown = null;

export function setUpPeople() {
  inWords(() => {
    setText(byId("floor-title"), word("floor"));
    if (shown) showPeople(shown);
  });
}

export function showPeople(people) {
  shown = people;
  setText(byId("floor-count"), word("counts", { waiting: people.waiting, inHall: people.in_hall }));
  const places = people.customers.map(({ name, window }) => `${name}@${window}`).join();
  if (places === placesShown && people.customers.length) {
    people.customers.forEach(figureOf); // nobody has moved; measuring them all would cost
    return;
  }
  placesShown = places;
  const before = new Map();
  for (const [name, { element }] of figures) before.set(name, element.getBoundingClientRect());
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
  list.dataset.crowd = floor.length > 60 ? "large" : floor.length > 26 ? "middle" : "small";
  arrange(list, floor);
  list.dataset.empty = floor.length ? "" : `${word("floorEmpty")}${people.automatic ? "" : "\n" + word("floorAutomatic")}`;
  if (!STILL.matches && !document.hidden) walk(before);
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
  figure.tag.dataset.prefix = customer.number?.[0] ?? "";
  figure.element.dataset.doing = customer.doing;
  const doing = word(customer.doing);
  figure.element.title = customer.window === null ? `${number} · ${doing}` : `${number} · ${word("at", { n: customer.window, doing })}`;
  return figure;
}

/** Let everybody who stands elsewhere than before walk there. */
function walk(before) {
  for (const [name, { element }] of figures) {
    const now = element.getBoundingClientRect();
    const old = before.get(name);
    if (!old?.width) {
      element.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 250 });
      continue;
    }
    const x = old.left - now.left;
    const y = old.top - now.top;
    if (Math.abs(x) + Math.abs(y) < 3) continue;
    element.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], {
      duration: WALK_MS,
      easing: "ease-in-out",
    });
  }
}
