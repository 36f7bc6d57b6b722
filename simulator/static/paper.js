// A paper ticket, drawn from what the printer made of the bytes that it got.

import { made } from "./made.js";

const SIZES = [12, 15, 20, 26, 34, 42, 50, 58]; // CSS pixels, by multiples of the printer's font

/** Everything on a piece of paper, or on the strip that still hangs in the slot. */
export function paperContent(items) {
  return items.map((item) => {
    if (item.kind === "text") return textLine(item);
    if (item.kind === "qr") return qrCode(item);
    return made("img", { class: `raster ${item.align}`, src: item.png, alt: "" });
  });
}

function textLine(item) {
  const line = made("p", { class: `line ${item.align}${item.bold ? " bold" : ""}` });
  const size = SIZES[Math.min(item.height, SIZES.length) - 1];
  line.style.fontSize = `${size}px`;
  const text = made("span", {}, item.text || "\u00a0");
  if (item.width !== item.height) text.style.transform = `scaleX(${item.width / item.height})`;
  line.append(text);
  return line;
}

function qrCode(item) {
  if (!item.svg) return made("p", { class: "line center" }, item.text);
  const code = made("img", { class: `qr ${item.align}`, src: item.svg, alt: item.text });
  return code;
}

/** The number on a ticket: its largest line. `null` where nothing was printed. */
export function numberOn(paper) {
  const lines = paper.items.filter((item) => item.kind === "text" && item.text.trim());
  const largest = lines.reduce((best, item) => (!best || item.height > best.height ? item : best), null);
  return largest && largest.height > 2 ? largest.text.trim() : null;
}

export function isTorn(paper) {
  return !paper.complete;
}

export function isVoid(paper) {
  return says(paper, "VOID");
}

export function isReprint(paper) {
  return says(paper, "REPRINT");
}

function says(paper, mark) {
  return paper.items.some((item) => item.kind === "text" && item.text.includes(mark));
}
