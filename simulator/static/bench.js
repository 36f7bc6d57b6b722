// The fault bench: what can be broken, what is broken now, and what that did to the figures.

import { arrange, byId, made, setAttribute, setText } from "./made.js";
import { inWords, named, word } from "./words.js";

const MINUTES = [5, 15, 30, 60, 120];
const SWITCHES = [
  ["paper_out", "paperOut"],
  ["paper_low", "paperLow"],
  ["printer_off", "printerOff"],
  ["broker_down", "brokerDown"],
];
const BEHIND = 20; // events that are not at the centre yet, before it is worth a look
const PROGRAMS = ["daemon", "broker", "centre"];

let send = () => {};
let state = null;
let panels = [];
const switches = new Map();
const kills = new Map();
const chips = new Map();
const figures = new Map();

export function setUpBench(sender) {
  send = sender;
  inWords(() => {
    setText(byId("bench-title"), word("bench"));
    setText(byId("bench-note"), word("benchNote"));
  });
  const bench = byId("faults");
  for (const [fault, name] of SWITCHES) {
    const button = toggle(() => word(name), () => send({ do: fault, on: !state?.faults[fault] }));
    button.dataset.fault = fault;
    switches.set(fault, button);
  }
  bench.append(
    made("div", { class: "group switches" }, ...switches.values()),
    network(), cables(), keys(), killing(),
    made("ul", { class: "chips", id: "chips" }),
  );
}

/** A real button that is a switch. */
function toggle(text, act) {
  const label = made("span");
  const button = made("button", { type: "button", class: "switch fault", role: "switch", "aria-checked": "false" }, made("i"), label);
  button.addEventListener("click", act);
  inWords(() => setText(label, text()));
  return button;
}

function choice(id, name) {
  const select = made("select", { id });
  inWords(() => select.setAttribute("aria-label", word(name)));
  return select;
}

function option(value, text) {
  const element = made("option", { value });
  inWords(() => setText(element, text()));
  return element;
}

function network() {
  const minutes = choice("network-minutes", "networkFor");
  for (const each of MINUTES) minutes.append(option(each, () => word("minutes", { n: each })));
  minutes.value = "15";
  const button = toggle(networkText, () =>
    send({ do: "network_down", minutes: state?.faults.network_down ? 0 : Number(minutes.value) }));
  button.dataset.fault = "network_down";
  switches.set("network_down", button);
  return made("div", { class: "group" }, button, minutes);
}

function networkText() {
  const back = state?.faults.network_back_at;
  return back ? `${word("networkDown")} ${word("until", { time: back.slice(11, 16) })}` : word("networkDown");
}

function cables() {
  const select = choice("cable", "whichCable");
  const button = act(() => word("pull"), () => send({ do: "unplug", cable: select.value, on: true }));
  return made("div", { class: "group" }, heading("cable"), select, button);
}

function keys() {
  const device = choice("stuck-device", "whichDevice");
  const key = choice("stuck-key", "whichKey");
  device.addEventListener("change", fillKeys);
  const button = act(() => word("stick"), () =>
    send({ do: "stuck_key", at: device.value, key: key.value, on: true }));
  return made("div", { class: "group" }, heading("stuckKey"), device, key, button);
}

function killing() {
  const group = made("div", { class: "group kills" }, heading("kill"));
  for (const program of PROGRAMS) {
    const count = made("small");
    const label = made("span");
    const button = made("button", { type: "button", class: "plain kill", "data-program": program }, label, count);
    button.addEventListener("click", () => send({ do: "kill", program }));
    inWords(() => {
      setText(label, word(program));
      button.setAttribute("aria-label", word("killOne", { name: word(program) }));
    });
    kills.set(program, count);
    group.append(button);
  }
  return group;
}

function heading(name) {
  const element = made("h3");
  inWords(() => setText(element, word(name)));
  return element;
}

function act(text, does) {
  const button = made("button", { type: "button", class: "plain" });
  button.addEventListener("click", does);
  inWords(() => setText(button, text()));
  return button;
}

/** A device's or cable's name in the page's language. */
function deviceName(name) {
  const [kind, number] = name.split("-");
  const words = { screen: "screenOf", caller: "callerOf", evaluator: "evaluatorOf" }[kind];
  if (words) return word(words, { n: number });
  if (name === "printer" || name === "dispenser") return word(name);
  return word("bus", { name: name.toUpperCase().replace("RS485", "RS-485") });
}

// --- what is so now --------------------------------------------------------------------------------

export function showBench(sections) {
  const first = state === null;
  state = { faults: sections.faults, programs: sections.programs, figures: sections.figures };
  panels = [["dispenser", sections.dispenser]];
  for (const [name, window] of Object.entries(sections)) {
    if (!name.startsWith("window/")) continue;
    panels.push([`caller-${window.window}`, window.caller], [`evaluator-${window.window}`, window.evaluator]);
  }
  if (first) fillChoices();
  for (const [fault, button] of switches) setAttribute(button, "aria-checked", String(state.faults[fault]));
  setText(switches.get("network_down").lastChild, networkText());
  for (const [program, count] of kills) {
    const times = state.figures.kills[program];
    setText(count, times ? word("times", { n: times }) : "");
  }
  showChips();
  showFigures();
}

function fillChoices() {
  for (const cable of state.faults.cables) byId("cable").append(option(cable, () => deviceName(cable)));
  for (const [name] of panels) byId("stuck-device").append(option(name, () => deviceName(name)));
  fillKeys();
}

function fillKeys() {
  const panel = panels.find(([name]) => name === byId("stuck-device").value)?.[1];
  byId("stuck-key").replaceChildren(...(panel?.keys ?? []).map((key) => {
    const element = made("option", { value: key.key }, named(key.name));
    element.dataset.zh = key.name.zh;
    element.dataset.en = key.name.en;
    return element;
  }));
}

/** What is unplugged or stuck, each with a button that mends it. */
function showChips() {
  const wrong = new Map();
  for (const cable of state.faults.unplugged) {
    wrong.set(`cable ${cable}`, {
      text: () => word("plugIn", { name: deviceName(cable) }),
      mend: { do: "unplug", cable, on: false },
    });
  }
  for (const [at, panel] of panels) {
    for (const key of panel.keys.filter((each) => each.stuck)) {
      wrong.set(`key ${at} ${key.key}`, {
        text: () => word("unstick", { name: `${deviceName(at)} · ${named(key.name)}` }),
        mend: { do: "stuck_key", at, key: key.key, on: false },
      });
    }
  }
  for (const name of chips.keys()) if (!wrong.has(name)) chips.delete(name);
  for (const [name, { text, mend }] of wrong) {
    if (!chips.has(name)) {
      const button = made("button", { type: "button", class: "chip" });
      button.addEventListener("click", () => send(mend));
      chips.set(name, made("li", {}, button));
    }
    setText(chips.get(name).firstChild, text());
  }
  arrange(byId("chips"), [...chips.values()]);
}

function showFigures() {
  const { presses, presses_unanswered: unanswered, papers, calls, events } = state.figures;
  figure("presses", presses);
  figure("unanswered", unanswered, unanswered > 0);
  figure("papers", papers);
  figure("calls", calls);
  figure("journaled", events?.journaled ?? "–");
  figure("atCentre", events?.at_centre ?? "–", Boolean(events && events.journaled - events.at_centre > BEHIND));
}

function figure(name, value, alarming = false) {
  if (!figures.has(name)) {
    const term = made("dt");
    const number = made("dd");
    inWords(() => setText(term, word(name)));
    byId("figures").append(made("div", { "data-figure": name }, term, number));
    figures.set(name, number);
  }
  setText(figures.get(name), String(value));
  figures.get(name).classList.toggle("alarming", alarming);
}

inWords(() => {
  for (const element of document.querySelectorAll("#stuck-key option")) {
    setText(element, named(element.dataset));
  }
  if (state) {
    showChips();
    setText(switches.get("network_down").lastChild, networkText());
  }
});
