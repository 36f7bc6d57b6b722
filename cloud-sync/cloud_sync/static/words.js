// What the page says, in Chinese and English. Keys of states are the contract's own names.

export const WORDS = {
  zh: {
    title: "客服中心 · Now Serving",
    centre: "客服中心", skip: "跳到营业厅", halls: "营业厅", filter: "查找营业厅",
    live: "实时", connecting: "正在连接…", stale: "数据停留在 {time}",
    staleNotice: "与数据源的连接已中断。以下是 {time} 的数据，恢复后自动更新。",
    refused: "消息服务器拒绝了本页的登录，请检查 sync.toml 中 [page] 的用户和密码。",
    none: "尚无营业厅上报数据。营业厅接入后会立即显示在这里。",
    never: "暂时无法连接消息服务器，正在重试。",
    hallsOnline: "在线营业厅", waiting: "等候", satisfaction: "今日满意率", rated: "评价率",
    events: "事件", deadLetters: "无法识别的消息",
    services: "各业务的等候", service: "业务", called: "已叫号", waits: "等候时间（半数 – 九成客户以内）",
    issued: "取号", finished: "办结", noShows: "过号", serviceTime: "办理时间（中位）",
    windows: "窗口", window: "{n} 号", devices: "设备", waitNow: "正在等候",
    online: "在线", lost: "失联", stopped: "已停机", behind: "还有 {n} 条事件未到",
    heartbeat: "{n} 秒前有心跳", lastHeard: "最后心跳 {time}", devicesAsOf: "设备（{time} 的状态）",
    devicesLastKnown: "设备（最后所知的状态）", day: "营业日 {day}", noWindows: "尚无窗口开放", noServices: "今日尚无客户取号",
    unrated: "尚无评价", ratedOf: "{share} 的客户作了评价",
    very_satisfied: "非常满意", satisfied: "满意", neutral: "一般", dissatisfied: "不满意",
    idle: "空闲", calling: "叫号中", serving: "办理中", paused: "暂停", closed: "未开",
    unknown: "未知", offline: "离线", paper_low: "纸将尽", paper_out: "缺纸",
    cover_open: "盖未合", fault: "故障", stuck_key: "按键卡住",
  },
  en: {
    title: "Centre · Now Serving",
    centre: "Centre", skip: "Skip to the hall", halls: "Halls", filter: "Find a hall",
    live: "Live", connecting: "Connecting…", stale: "Stale since {time}",
    staleNotice: "The link to the data is broken. This is how it was at {time}; it updates by itself when the link is back.",
    refused: "The broker refused this page's login. Check user and password under [page] in sync.toml.",
    none: "No hall has reported yet. A hall appears here as soon as it connects.",
    never: "The broker can't be reached yet. Trying again.",
    hallsOnline: "Halls online", waiting: "Waiting", satisfaction: "Satisfaction today", rated: "Customers who rated",
    events: "Events", deadLetters: "Unreadable messages",
    services: "The line, by service", service: "Service", called: "Called", waits: "Wait (half – nine in ten called within)",
    issued: "Tickets", finished: "Finished", noShows: "No-shows", serviceTime: "Service time (median)",
    windows: "Windows", window: "Window {n}", devices: "Devices", waitNow: "Waiting now",
    online: "Online", lost: "Lost", stopped: "Stopped", behind: "Events still to come: {n}",
    heartbeat: "heartbeat {n} s ago", lastHeard: "last heard at {time}", devicesAsOf: "Devices as of {time}",
    devicesLastKnown: "Devices, as last known", day: "Business day {day}", noWindows: "No window has opened yet", noServices: "No customer today yet",
    unrated: "Not rated yet", ratedOf: "{share} of customers rated",
    very_satisfied: "Very satisfied", satisfied: "Satisfied", neutral: "Neutral", dissatisfied: "Dissatisfied",
    idle: "Idle", calling: "Calling", serving: "Serving", paused: "Paused", closed: "Closed",
    unknown: "Unknown", offline: "Offline", paper_low: "Paper low", paper_out: "Paper out",
    cover_open: "Cover open", fault: "Fault", stuck_key: "Stuck key",
  },
};

export function firstLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  if (asked in WORDS) return asked;
  return navigator.language.toLowerCase().startsWith("en") ? "en" : "zh";
}
