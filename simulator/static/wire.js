// The line to the hall: sections come in, actions go out. Reconnects by itself.

const FIRST_BACK_OFF = 500;
const LONGEST_BACK_OFF = 5000;

export class Wire {
  /** `changed(names, sections)` for every message, `lost(since)`, `found()`, `refused(why)`. */
  constructor(listeners) {
    this.sections = {};
    this.connected = false;
    this.listeners = listeners;
    this.backOff = FIRST_BACK_OFF;
    this.heardAt = null;
    this.open();
  }

  open() {
    const socket = new WebSocket(`ws://${location.host}/live`);
    this.socket = socket;
    let fresh = true; // the first message is everything
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.heardAt = new Date();
      if (typeof message.refused === "string") {
        this.listeners.refused(message.refused);
        return;
      }
      if (fresh) {
        fresh = false;
        for (const name of Object.keys(this.sections)) if (!(name in message)) message[name] = null;
        this.connected = true;
        this.backOff = FIRST_BACK_OFF;
        this.listeners.found();
      }
      for (const [name, content] of Object.entries(message)) {
        if (content === null) delete this.sections[name];
        else this.sections[name] = content;
      }
      this.listeners.changed(Object.keys(message), this.sections);
    };
    socket.onclose = () => {
      if (this.connected || this.heardAt === null) this.listeners.lost(this.heardAt ?? new Date());
      this.connected = false;
      setTimeout(() => this.open(), this.backOff);
      this.backOff = Math.min(this.backOff * 2, LONGEST_BACK_OFF);
    };
  }

  /** Do something in the hall. What can't be sent now is not done later. */
  send(action) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(action));
  }
}
