// What the page says, in the hall's two languages. Names of keys, lamps and services come from
// the hall itself.

const WORDS = {
  zh: {
    title: "虚拟营业厅",
    other: "English",
    dispenser: "取号机",
    dispenserPlate: "请按键取号",
    tray: "刚取的号票",
    trayEmpty: "取出的号票放在这里",
    windows: "窗口",
    window: "{n} 号窗口",
    everything: "全部业务 · 一柜通",
    and: " · ",
    screen: "{n} 号窗口屏",
    caller: "{n} 号窗口呼叫器",
    evaluator: "{n} 号窗口评价器",
    clerk: "工号 {id}",
    floor: "等候区",
    counts: "虚拟顾客（不计您自己取的号票）：{waiting} 人等候 · {inHall} 人在厅",
    floorEmpty: "没有虚拟顾客在等候；您自己取的号在您手里",
    floorAutomatic: "打开「自动客户」，让人进来；或者自己取号、叫号。",
    bench: "故障台",
    benchNote: "拔线、断网、杀进程，看看会不会丢号",
    speed: "速度",
    automatic: "自动客户与营业员",
    programs: "进程",
    daemon: "厅内程序",
    broker: "消息代理",
    centre: "客服中心",
    ready: "就绪",
    starting: "启动中",
    down: "停止",
    memory: "内存 {mb} MB",
    paperOut: "缺纸",
    paperLow: "纸将尽",
    printerOff: "打印机断电",
    brokerDown: "代理停机",
    networkDown: "断网",
    networkFor: "断网时长（厅内分钟）",
    minutes: "{n} 分钟",
    until: "至 {time}",
    cable: "拔线",
    whichCable: "哪根线",
    pull: "拔掉",
    plugIn: "插上 {name}",
    stuckKey: "卡键",
    whichDevice: "哪个设备",
    whichKey: "哪个键",
    stick: "卡住",
    unstick: "松开 {name}",
    kill: "强制结束",
    killOne: "结束{name}",
    times: "{n} 次",
    screenOf: "{n} 号窗口屏",
    callerOf: "{n} 号呼叫器",
    evaluatorOf: "{n} 号评价器",
    printer: "打印机",
    bus: "{name} 总线",
    presses: "按键",
    unanswered: "未应答",
    papers: "号票",
    calls: "叫号",
    journaled: "本厅记录事件",
    atCentre: "中心收到事件",
    unplugged: "线已拔出",
    torn: "撕断",
    void: "作废",
    stale: "页面与营业厅断开，以下为 {time} 时的情形，正在重连……",
    help: "快捷键",
    helpOn: "使用快捷键",
    close: "关闭",
    keyWindow: "选择窗口",
    keyLanguage: "中文 / English",
    keyAutomatic: "自动客户与营业员",
    keySpeed: "放慢 / 加快",
    keyHelp: "本说明",
    helpHold: "按住鼠标、手指或按键，就是按住设备上的键；按得太久就是卡键。",
    helpWindow: "所选窗口的呼叫器",
    helpRating: "所选窗口的评价器",
    helpDispenser: "取号机",
    helpOther: "其他",
    showCentre: "客服中心页",
    hideCentre: "收起中心页",
    openCentre: "在新标签页打开",
    magnifier: "号票 {n}",
    paperOf: "号票 {n}，点按放大",
    halfPaper: "没打完的号票还挂在出纸口",
    at: "{n} 号窗口：{doing}",
    walking: "走向窗口",
    "at the dispenser": "取号中",
    waiting: "等候",
    "at the window": "到窗口",
    served: "办理中",
    "filling in a form": "填表",
    rating: "评价",
    refused: "没有执行：{why}",
  },
  en: {
    title: "The virtual hall",
    other: "中文",
    dispenser: "Ticket dispenser",
    dispenserPlate: "Press to take a number",
    tray: "Latest tickets",
    trayEmpty: "Tickets land here",
    windows: "Windows",
    window: "Window {n}",
    everything: "All services",
    and: ", ",
    screen: "Screen of window {n}",
    caller: "Caller of window {n}",
    evaluator: "Evaluator of window {n}",
    clerk: "Clerk {id}",
    floor: "Waiting area",
    counts: "virtual people, tickets of your own not counted: {waiting} waiting, {inHall} in the hall",
    floorEmpty: "No virtual customer is waiting; a ticket that you take is yours",
    floorAutomatic: "Switch \"Automatic people\" on to let them in; or take a number and call it yourself.",
    bench: "Fault bench",
    benchNote: "Pull, cut, kill: no number gets lost",
    speed: "Speed",
    automatic: "Automatic people",
    programs: "Programs",
    daemon: "Daemon",
    broker: "Broker",
    centre: "Centre",
    ready: "ready",
    starting: "starting",
    down: "down",
    memory: "{mb} MB resident",
    paperOut: "Paper out",
    paperLow: "Paper low",
    printerOff: "Printer off",
    brokerDown: "Broker down",
    networkDown: "Network down",
    networkFor: "For how long (hall minutes)",
    minutes: "{n} min",
    until: "until {time}",
    cable: "Cable",
    whichCable: "Which cable",
    pull: "Unplug",
    plugIn: "Plug in {name}",
    stuckKey: "Stuck key",
    whichDevice: "Which device",
    whichKey: "Which key",
    stick: "Jam",
    unstick: "Free {name}",
    kill: "Kill -9",
    killOne: "Kill the {name}",
    times: "×{n}",
    screenOf: "screen {n}",
    callerOf: "caller {n}",
    evaluatorOf: "evaluator {n}",
    printer: "printer",
    bus: "bus {name}",
    presses: "Presses",
    unanswered: "Unanswered",
    papers: "Tickets",
    calls: "Calls",
    journaled: "Events in the hall",
    atCentre: "At the centre",
    unplugged: "unplugged",
    torn: "torn off",
    void: "void",
    stale: "The page has lost the hall. Stale since {time}; reconnecting …",
    help: "Keyboard",
    helpOn: "Use single-key shortcuts",
    close: "Close",
    keyWindow: "choose a window",
    keyLanguage: "中文 / English",
    keyAutomatic: "automatic people",
    keySpeed: "slower / faster",
    keyHelp: "this list",
    helpHold: "Holding the mouse, a finger or a key holds the device's key down; too long, and it is a stuck key.",
    helpWindow: "Caller of the chosen window",
    helpRating: "Evaluator of the chosen window",
    helpDispenser: "Ticket dispenser",
    helpOther: "Everything else",
    showCentre: "Show the centre",
    hideCentre: "Hide the centre",
    openCentre: "Open in a new tab",
    magnifier: "Ticket {n}",
    paperOf: "Ticket {n}, press to enlarge",
    halfPaper: "Half a ticket still hangs in the slot",
    at: "Window {n}: {doing}",
    walking: "walking there",
    "at the dispenser": "taking a number",
    waiting: "waiting",
    "at the window": "has come",
    served: "being served",
    "filling in a form": "filling in a form",
    rating: "rating",
    refused: "Not done: {why}",
  },
};

const KEPT = "nowserving.language";
const bound = [];
let current = remembered() ?? (navigator.language.startsWith("zh") ? "zh" : "en");

function remembered() {
  try {
    const language = localStorage.getItem(KEPT);
    return language in WORDS ? language : null;
  } catch {
    return null; // storage is switched off: the language lasts as long as the page
  }
}

export function language() {
  return current;
}

export function word(name, values = {}) {
  return (WORDS[current][name] ?? name).replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** A name that came from the hall in both languages. */
export function named(name) {
  return name[current] ?? name.en ?? "";
}

/** Set something in the page's language now, and again whenever that changes. */
export function inWords(set) {
  bound.push(set);
  set();
}

export function switchLanguage() {
  current = current === "zh" ? "en" : "zh";
  try {
    localStorage.setItem(KEPT, current);
  } catch {
    // as above
  }
  for (const set of bound) set();
}
