// An LED bar, dot by dot. Text is set as a font card sets it: hanzi in 16 × 16 dots, the rest in
// 8 × 16, and what is wider than the bar runs to the left.

const DOT = 2; // CSS pixels from dot to dot
const LIT = { red: [255, 66, 36], green: [92, 255, 96], yellow: [255, 196, 40] };
const BOARD = "#0c0908";
const UNLIT = "#1d1716";
const FONT_HANZI = '15px "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif';
// Not a monospaced one: their dotted zero looks like an eight here.
const FONT_LATIN = '600 15px "Noto Sans CJK SC", Arial, "Liberation Sans", sans-serif';
const RUN_EVERY_MS = 60;
const DOTS_PER_RUN = 3;
const LINES_KEPT = 60; // set lines: bars blink, and say the same again and again
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const glyphs = new Map();
const unlitBars = new Map();
const litLines = new Map();

export class LedBar {
  constructor(canvas) {
    this.canvas = canvas;
    this.shown = "";
    this.offset = 0;
  }

  /** `screen`: a window's screen as the hall describes it; `dark`: nothing is lit. */
  show(screen, dark) {
    const area = screen.areas[0];
    const width = Math.min(Math.max(area?.width ?? this.width ?? 176, 64), 512);
    const height = Math.min(Math.max(area?.height ?? this.height ?? 16, 16), 64);
    const text = dark ? "" : screen.text;
    const wanted = `${width} ${height} ${screen.colour} ${text}`;
    if (wanted === this.shown) return;
    this.shown = wanted;
    if (width !== this.width || height !== this.height) this.resize(width, height);
    this.line = lit(text, LIT[screen.colour] ?? LIT.red, DOT * this.ratio);
    clearInterval(this.running);
    if (this.line.dots > width && !STILL.matches) this.run();
    else this.draw(Math.floor((width - Math.min(this.line.dots, width)) / 2));
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.ratio = Math.max(1, Math.min(3, Math.round(devicePixelRatio)));
    this.canvas.width = width * DOT * this.ratio;
    this.canvas.height = height * DOT * this.ratio;
  }

  run() {
    const way = this.line.dots + this.width; // from the right edge until the last dot has gone
    let gone = this.width;
    this.draw(0);
    this.running = setInterval(() => {
      gone = (gone + DOTS_PER_RUN) % way;
      if (!document.hidden) this.draw(this.width - gone);
    }, RUN_EVERY_MS);
  }

  /** The line's first dot stands at `left`, counted in dots from the bar's left edge. */
  draw(left) {
    const context = this.canvas.getContext("2d");
    const pitch = DOT * this.ratio;
    context.drawImage(unlit(this.width, this.height, pitch, dotSize(pitch)), 0, 0);
    const top = Math.floor((this.height - 16) / 2);
    if (this.line.picture) context.drawImage(this.line.picture, left * pitch, top * pitch);
  }
}

function dotSize(pitch) {
  return pitch * 0.8;
}

/** A bar of this size with no dot lit; the same picture for all of them. */
function unlit(width, height, pitch, size) {
  const kind = `${width} ${height} ${pitch}`;
  if (!unlitBars.has(kind)) {
    const canvas = new OffscreenCanvas(width * pitch, height * pitch);
    const context = canvas.getContext("2d");
    context.fillStyle = BOARD;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = UNLIT;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) context.fillRect(x * pitch, y * pitch, size, size);
    }
    unlitBars.set(kind, canvas);
  }
  return unlitBars.get(kind);
}

/** A line of text in a colour: its width in dots, and its picture on nothing. */
function lit(text, [red, green, blue], pitch) {
  const kind = `${red},${green},${blue} ${pitch} ${text}`;
  if (!litLines.has(kind)) {
    if (litLines.size >= LINES_KEPT) litLines.delete(litLines.keys().next().value);
    const { width, light } = set(text);
    let picture = null;
    if (light.some(Boolean)) {
      picture = new OffscreenCanvas(width * pitch, 16 * pitch);
      const context = picture.getContext("2d");
      const size = dotSize(pitch);
      for (const [dot, share] of light.entries()) {
        if (!share) continue;
        context.fillStyle = `rgba(${red},${green},${blue},${share})`;
        context.fillRect((dot % width) * pitch, Math.floor(dot / width) * pitch, size, size);
      }
    }
    litLines.set(kind, { dots: width, picture });
  }
  return litLines.get(kind);
}

/** A line of text as dots: 16 high. */
function set(text) {
  const cells = [...text].map(glyph);
  const width = cells.reduce((sum, cell) => sum + cell.width, 0);
  const light = new Float32Array(width * 16);
  let left = 0;
  for (const cell of cells) {
    for (let y = 0; y < 16; y++) {
      for (let x = 0; x < cell.width; x++) light[y * width + left + x] = cell.light[y * cell.width + x];
    }
    left += cell.width;
  }
  return { width, light };
}

function glyph(character) {
  if (!glyphs.has(character)) glyphs.set(character, drawn(character));
  return glyphs.get(character);
}

function drawn(character) {
  const width = character.codePointAt(0) < 0x2e80 ? 8 : 16;
  const canvas = new OffscreenCanvas(width, 16);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.font = width === 8 ? FONT_LATIN : FONT_HANZI;
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText(character, width / 2, 13.5, width);
  const { data } = context.getImageData(0, 0, width, 16);
  const light = new Float32Array(width * 16);
  for (let dot = 0; dot < light.length; dot++) {
    const cover = data[dot * 4 + 3] / 255;
    light[dot] = cover < 0.3 ? 0 : Math.min(1, 0.35 + cover); // a diode is on or nearly off
  }
  return { width, light };
}
