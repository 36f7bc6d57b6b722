// The centre's page: keeps the newest document of each hall and draws them. All data comes from
// the broker by WebSocket; nothing is polled, and what is on the screen is never taken away.

import { WORDS, firstLanguage } from "./words.js";

const SILENCE_MS = 15000; // the centre renews its documents every 5 s
const HALLS_SHOWN = 500;
const RATINGS = ["very_satisfied", "satisfied", "neutral", "dissatisfied"];
const TARGET_SATISFACTION = 0.8;
const SCALE_AT_LEAST_SECONDS = 600;
const DRAW_EVERY_MS = 500; // nobody reads numbers that change faster, and a small machine gets hot
const MOVED_MS = 1500;

const $ = (id) => document.getElementById(id);
const halls = new Map();
let network = null;
let language = firstLanguage();
let selected = new URLSearchParams(location.search).get("hall");
let link = { state: "connecting", since: null };
let lastHeard = null;
let drawing = false;
let drawnAt = -Infinity;
let drawnIn = null; // the language of the words that never change otherwise

// --- words -----------------------------------------------------------------------------------

function t(key, values = {}) {
  return (WORDS[language][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
const number = (value) => value.toLocaleString(language === "zh" ? "zh-CN" : "en");
const percent = (value) => (value === null ? "–" : `${(value * 100).toFixed(value === 1 ? 0 : 1)}%`);
function duration(seconds) {
  if (seconds === null) return "–";
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
const nameOf = (names, id) => names?.[language] ?? Object.values(names ?? {})[0] ?? id;
const hallName = (hall) => nameOf(hall.name, hall.hall);
const clock = (date) => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
/** The time of day, with the day where it is another one than today. */
function moment(date) {
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(date) : `${date.toLocaleDateString("sv-SE")} ${clock(date)}`;
}

/** When the hall's own last heartbeat came, as text; "" where the centre has heard none. */
function lastHeartbeat(hall) {
  if (hall.heartbeat_age_seconds === null) return "";
  return moment(new Date(Date.parse(hall.updated_at) - hall.heartbeat_age_seconds * 1000));
}

/** "Lost · last heard at 07:50": what the hall is, and since when where it is away. */
function presenceOf(hall) {
  const time = lastHeartbeat(hall);
  return t(hall.presence) + (time ? ` · ${t("lastHeard", { time })}` : "");
}

// --- drawing ---------------------------------------------------------------------------------

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

// What is on the screen already is left alone: whatever is touched is laid out and painted anew.

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function dress(element, className) {
  if (element.className !== className) element.className = className;
}

function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function hide(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

const moved = new Map(); // elements that light up, and until when

/** Sets a text; one that was there before and is another now lights up for a moment. */
function say(element, text) {
  const before = element.dataset.value;
  if (before === text) return;
  element.dataset.value = text;
  element.textContent = text;
  if (before === undefined || element.dataset.language !== language) {
    element.dataset.language = language;
    return;
  }
  element.classList.add("moved");
  if (!moved.size) setTimeout(dim, MOVED_MS);
  moved.set(element, Date.now() + MOVED_MS);
}

/** Puts out whatever has been lit for long enough. No animation: one would repaint all the time. */
function dim() {
  const now = Date.now();
  for (const [element, until] of moved) {
    if (until > now) continue;
    element.classList.remove("moved");
    moved.delete(element);
  }
  if (moved.size) setTimeout(dim, DRAW_EVERY_MS);
}

/** Makes the children of `parent` those of `items`, keeping the elements that are there. */
function each(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, at) => {
    const key = String(keyOf(item));
    const child = before.get(key) ?? create(item);
    if (child.dataset.key !== key) child.dataset.key = key;
    before.delete(key);
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
    update(child, item);
  });
  before.forEach((child) => child.remove());
}

function figures(parent, entries) {
  each(parent, entries, ([key]) => key,
    () => { const box = make("div", "figure"); box.append(make("dt"), make("dd")); return box; },
    (box, [key, value]) => { write(box.children[0], t(key)); say(box.children[1], value); });
}

const waitingOf = (hall) => hall.services.reduce((sum, service) => sum + service.waiting, 0);
const presenceClass = (hall) => ({ online: "good", stopped: "attention", lost: "bad" })[hall.presence];

function draw() {
  drawing = false;
  drawnAt = performance.now();
  if (drawnIn !== language) drawWords();
  drawLink();
  drawNetwork();
  hide($("split"), halls.size === 0);
  if (halls.size === 0) return;
  if (!halls.has(selected)) selected = [...halls.keys()].sort()[0];
  drawList();
  drawHall(halls.get(selected));
}

function drawWords() {
  drawnIn = language;
  document.documentElement.lang = language;
  document.title = t("title");
  document.querySelectorAll("[data-t]").forEach((one) => { one.textContent = t(one.dataset.t); });
  $("filter").placeholder = t("filter");
  $("filter").setAttribute("aria-label", t("filter"));
  document.querySelectorAll("[data-lang]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.lang === language));
  });
}

/** At once after a pause, else with the next picture; a hidden page draws none. */
function drawSoon() {
  if (drawing) return;
  drawing = true;
  const wait = Math.max(0, drawnAt + DRAW_EVERY_MS - performance.now());
  setTimeout(() => requestAnimationFrame(draw), wait);
}

function drawLink() {
  const silent = lastHeard !== null && Date.now() - lastHeard > SILENCE_MS;
  const stale = lastHeard !== null && (link.state !== "live" || silent);
  const time = lastHeard === null ? "" : clock(new Date(lastHeard));
  document.body.classList.toggle("stale", stale);
  const pill = $("link");
  dress(pill, `pill ${stale ? "bad" : link.state === "live" ? "good" : "attention"}`);
  write(pill, stale ? t("stale", { time }) : t(link.state === "live" ? "live" : "connecting"));
  let notice = "";
  if (link.state === "refused") notice = t("refused");
  else if (stale) notice = t("staleNotice", { time });
  else if (link.state === "connecting" && link.since && Date.now() - link.since > 4000) notice = t("never");
  else if (link.state === "live" && halls.size === 0) notice = t("none");
  write($("notice"), notice);
  hide($("notice"), notice === "");
}

function drawNetwork() {
  if (network === null) return;
  const entries = [
    ["hallsOnline", `${number(network.halls_online)} / ${number(network.halls)}`],
    ["waiting", number(network.waiting)],
    ["satisfaction", percent(network.satisfaction.satisfaction)],
    ["rated", percent(network.satisfaction.rated_share)],
    ["events", number(network.events)],
  ];
  if (network.dead_letters) entries.push(["deadLetters", number(network.dead_letters)]);
  figures($("network"), entries);
}

function drawList() {
  const wanted = $("filter").value.trim().toLowerCase();
  hide($("filter"), halls.size <= 8);
  const shown = [...halls.values()]
    .filter((hall) => `${hall.hall} ${hallName(hall)}`.toLowerCase().includes(wanted))
    .sort((a, b) => a.hall.localeCompare(b.hall))
    .slice(0, HALLS_SHOWN);
  each($("halls"), shown, (hall) => hall.hall, (hall) => {
    const row = make("li");
    const button = make("button");
    button.type = "button";
    button.append(make("span", "dot"), make("span", "name"),
      make("span", "waiting"), make("span", "more"));
    button.addEventListener("click", () => select(hall.hall));
    row.append(button);
    return row;
  }, (row, hall) => {
    const [dot, name, waiting, more] = row.firstChild.children;
    write(name, hallName(hall));
    attribute(row.firstChild, "title", hall.hall);
    dress(dot, `dot ${hall.behind && hall.presence === "online" ? "attention" : presenceClass(hall)}`);
    attribute(row.firstChild, "aria-current", String(hall.hall === selected));
    say(waiting, `${t("waiting")} ${number(waitingOf(hall))}`);
    write(more, hall.presence === "online"
      ? `${t("finished")} ${number(hall.finished_today)} · ${t("satisfaction")} ${percent(hall.satisfaction.satisfaction)}`
      : presenceOf(hall));
  });
}

function drawHall(hall) {
  attribute($("hall"), "aria-label", hallName(hall));
  write($("name"), hallName(hall));
  if ($("name").dataset.hall !== hall.hall) {
    $("name").dataset.hall = hall.hall;
    ["today", "windows", "legend", "stack", "devices"].forEach((id) => $(id).replaceChildren());
    $("services").tBodies[0].replaceChildren();
    delete $("share").dataset.value;
  }
  const away = hall.presence !== "online"; // all that is shown is how it was
  const age = hall.heartbeat_age_seconds;
  const heard = age === null ? "" : ` · ${t("heartbeat", { n: Math.round(age) })}`;
  dress($("hall"), away ? "panel away" : "panel");
  dress($("presence"), `pill ${presenceClass(hall)}`);
  write($("presence"), away ? presenceOf(hall) : t(hall.presence) + heard);
  hide($("behind"), hall.behind === 0);
  write($("behind"), t("behind", { n: number(hall.behind) }));
  write($("day"), hall.business_day ? t("day", { day: hall.business_day }) : "");
  figures($("today"), [
    ["waitNow", number(waitingOf(hall))],
    ["issued", number(hall.issued_today)],
    ["finished", number(hall.finished_today)],
    ["noShows", number(hall.no_shows_today)],
    ["serviceTime", duration(hall.service_p50_seconds)],
  ]);
  drawServices(hall.services);
  drawWindows(hall.windows);
  drawOpinion(hall.satisfaction);
  const time = lastHeartbeat(hall);
  write($("devices-title"), !away ? t("devices") : time ? t("devicesAsOf", { time }) : t("devicesLastKnown"));
  const devices = Object.entries(hall.devices);
  hide($("devices-section"), devices.length === 0);
  each($("devices"), devices, ([name]) => name, () => make("span", "pill"), (pill, [name, status]) => {
    const look = away ? "" : { online: "good", unknown: "", paper_low: "attention" }[status] ?? "bad";
    dress(pill, `pill ${look}`);
    write(pill, `${name} ${t(status)}`);
  });
}

function drawServices(services) {
  const scale = Math.max(SCALE_AT_LEAST_SECONDS, ...services.map((one) => one.wait_p90_seconds ?? 0));
  const body = $("services").tBodies[0];
  if (services.length === 0) return emptyRow(body);
  body.querySelector(".empty")?.remove();
  each(body, services, (one) => one.service, (one) => {
    const row = make("tr");
    const cells = ["service", "number", "number", "wait"].map((name) => make("td", name));
    cells[1].append(make("span", "quantity"));
    cells[2].append(make("span"));
    const range = make("div", "range");
    const track = make("div", "track");
    track.append(make("div", "p90"), make("div", "p50"));
    range.append(track, make("span", "text"));
    cells[3].append(range);
    row.append(...cells);
    return row;
  }, (row, one) => {
    write(row.children[0], nameOf(one.name, one.service));
    attribute(row.children[0], "title", one.service);
    attribute(row.children[1], "data-label", t("waiting"));
    attribute(row.children[2], "data-label", t("called"));
    say(row.children[1].firstChild, number(one.waiting));
    say(row.children[2].firstChild, number(one.called_today));
    const width = (seconds) => `${Math.round(((seconds ?? 0) / scale) * 1000) / 10}%`;
    row.querySelector(".p50").style.width = width(one.wait_p50_seconds);
    row.querySelector(".p90").style.width = width(one.wait_p90_seconds);
    say(row.querySelector(".text"), one.wait_p50_seconds === null
      ? "–" : `${duration(one.wait_p50_seconds)} – ${duration(one.wait_p90_seconds)}`);
  });
}

function emptyRow(body) {
  const row = make("tr", "empty");
  const cell = make("td", "", t("noServices"));
  cell.colSpan = 4;
  row.append(cell);
  body.replaceChildren(row);
}

function drawWindows(windows) {
  if (windows.length === 0) { $("windows").replaceChildren(make("li", "closed", t("noWindows"))); return; }
  if (!$("windows").firstChild?.dataset.key) $("windows").replaceChildren();
  each($("windows"), windows, (one) => one.window, () => {
    const tile = make("li");
    const where = make("div", "where");
    where.append(make("span"), make("span"));
    tile.append(where, make("div", "ticket"), make("div", "state"));
    return tile;
  }, (tile, one) => {
    dress(tile, one.state);
    write(tile.children[0].children[0], t("window", { n: one.window }));
    write(tile.children[0].children[1], one.clerk ?? "");
    say(tile.children[1], one.number ?? "");
    write(tile.children[2], t(one.state));
  });
}

function drawOpinion(opinion) {
  const share = opinion.satisfaction;
  const look = share === null ? "" : share >= TARGET_SATISFACTION ? "good" : "bad";
  $("share").classList.toggle("good", look === "good");
  $("share").classList.toggle("bad", look === "bad");
  say($("share"), percent(share));
  each($("stack"), RATINGS, (name) => name, (name) => make("span", name), (part, name) => {
    part.style.flexGrow = opinion.ratings[name] ?? 0;
    hide(part, !opinion.ratings[name]);
  });
  each($("legend"), [...RATINGS, "rated"], (name) => name, (name) => {
    const entry = make("span");
    if (name !== "rated") entry.append(make("i", name));
    entry.append(make("span"), " ", make("b"));
    return entry;
  }, (entry, name) => {
    const [label, count] = entry.querySelectorAll("span, b");
    if (name === "rated") {
      write(label, opinion.rated_share === null ? t("unrated") : t("ratedOf", { share: percent(opinion.rated_share) }));
    } else {
      write(label, t(name));
      say(count, number(opinion.ratings[name] ?? 0));
    }
  });
}

// --- choosing --------------------------------------------------------------------------------

function remember() {
  const query = new URLSearchParams(location.search);
  query.set("lang", language);
  if (selected) query.set("hall", selected);
  history.replaceState(null, "", `?${query}`);
}

function select(name) { selected = name; remember(); draw(); }

document.querySelectorAll("[data-lang]").forEach((button) => {
  button.addEventListener("click", () => { language = button.dataset.lang; remember(); draw(); });
});
$("filter").addEventListener("input", draw);
$("halls").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...$("halls").querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) { next.focus(); next.click(); event.preventDefault(); }
});

// --- the link --------------------------------------------------------------------------------

function setLink(state) {
  if (link.state !== state) link = { state, since: Date.now() };
  drawSoon();
}

function take(topic, payload, settings) {
  if (payload.length === 0) { // the hall is out of service
    halls.delete(topic.split("/")[3]);
    drawSoon();
    return;
  }
  let told;
  try { told = JSON.parse(new TextDecoder().decode(payload)); } catch { return; }
  if (topic === settings.topics.network && told !== null) network = told;
  else if (typeof told?.hall === "string" && Array.isArray(told.services)) halls.set(told.hall, told);
  else return; // some brokers hand every retained message to whoever subscribes to anything
  lastHeard = Date.now();
  drawSoon();
}

async function settingsOfPage() {
  for (;;) {
    try {
      const response = await fetch("/config.json");
      if (response.ok) return await response.json();
    } catch { /* the centre is away: again in a moment */ }
    await new Promise((done) => setTimeout(done, 2000));
  }
}

async function start() {
  link.since = Date.now();
  draw();
  setInterval(drawLink, 1000);
  const settings = await settingsOfPage();
  const client = mqtt.connect(settings.websocketUrl, {
    username: settings.username,
    password: settings.password,
    clientId: `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`,
    protocolVersion: 4, // MQTT 3.1.1: some brokers speak nothing else by WebSocket
    keepalive: 15,
    reconnectPeriod: 2000,
    connectTimeout: 8000,
    timerVariant: "native",
  });
  client.on("connect", () => {
    client.subscribe([settings.topics.halls, settings.topics.network], { qos: 1 }, (error) => {
      if (!error) setLink("live");
    });
  });
  client.on("close", () => { if (link.state !== "refused") setLink("connecting"); });
  client.on("error", (error) => {
    // MQTT 3.1.1 CONNACK: 4 bad user or password, 5 not authorised.
    if (error.code === 4 || error.code === 5) setLink("refused");
  });
  client.on("message", (topic, payload) => take(topic, payload, settings));
}

start();
