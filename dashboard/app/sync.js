/**
 * Keeps the store equal to the relay: one event stream, and a full read each time it opens.
 *
 * Why there is no gap: the stream is open before the read is asked for, and what arrives during
 * the read is applied after it, in order. Events only say what changed; where one carries no whole
 * object, the object is fetched. So a lost, repeated or unknown event never leaves a wrong page.
 */
import { batch } from "../vendor/preact-signals.js";
import * as api from "./api.js";
import { applyEvent, refreshAgents } from "./events.js";
import { loadFresh, loadUnread } from "./lists.js";
import { refreshShownReceipts } from "./receipts.js";
import * as store from "./store.js";
import { readEvents } from "./stream.js";

/** Fast enough to feel immediate, slow enough not to hammer a relay that restarts. */
const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];
/** Events of one burst are drawn together. */
const BATCH_MS = 30;
/** Last-seen times change without an event of their own. */
const AGENTS_REFRESH_MS = 20_000;
const CLOCK_MS = 10_000;

let lastEventId = null;
let wake = () => {};

/** Runs for as long as the page lives. */
export async function run() {
  addEventListener("online", () => wake());
  document.addEventListener("visibilitychange", () => document.hidden || wake());
  setInterval(() => (store.now.value = Date.now()), CLOCK_MS);
  setInterval(refreshAgents, AGENTS_REFRESH_MS);
  for (let failures = 0; ; failures += 1) {
    setState("connecting");
    const connection = new Connection();
    await connection.run();
    if (connection.wasLive) failures = 0;
    if (store.session.value.needed) {
      setState("denied");
      await woken();
    } else {
      await pause(BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)]);
    }
  }
}

/** Try again now: the person asked, the network came back, or a login worked. */
export const reconnectNow = () => wake();

const woken = () => new Promise((done) => (wake = done));

async function pause(delay) {
  setState("lost", Date.now() + delay);
  let timer;
  await Promise.race([woken(), new Promise((done) => (timer = setTimeout(done, delay)))]);
  clearTimeout(timer);
}

function setState(state, retryAt = null) {
  const { liveAt } = store.connection.value;
  // What is on the page is as of the last moment the connection lived.
  const asOf = store.connection.value.state === "live" ? Date.now() : liveAt;
  store.connection.value = { state, retryAt, liveAt: asOf };
}

/** One stream from its opening to its end, with the read that belongs to it. */
class Connection {
  controller = new AbortController();
  queue = [];
  reading = true;
  turn = 0;
  timer = null;
  wasLive = false;

  /** Resolves when the stream has ended, for whatever reason. */
  async run() {
    try {
      await readEvents({
        url: "/api/events",
        lastEventId,
        signal: this.controller.signal,
        onOpen: () => this.read(),
        onEvent: (event) => this.receive(event),
      });
    } catch (error) {
      this.failed(error);
    }
    this.controller.abort();
    clearTimeout(this.timer);
  }

  /** Read everything; of two reads that overlap (a reset right after opening) the later counts. */
  async read() {
    const turn = ++this.turn;
    this.reading = true;
    try {
      const parts = await Promise.all([api.listAgents(), loadFresh(), loadUnread()]);
      if (turn === this.turn && !this.controller.signal.aborted) this.show(...parts);
    } catch (error) {
      this.failed(error);
      this.controller.abort();
    }
  }

  show({ agents }, { messages, windows }, unread) {
    this.reading = false;
    this.wasLive = true;
    batch(() => {
      store.agents.value = new Map(agents.map((agent) => [agent.id, agent]));
      store.messages.value = messages;
      store.windows.value = windows;
      store.unread.value = unread;
      store.loaded.value = true;
      store.loadError.value = null;
      setState("live");
    });
    this.flush();
    refreshShownReceipts();
  }

  failed(error) {
    if (this.controller.signal.aborted) return;
    if (error.status === 401) store.session.value = { ...store.session.value, needed: true };
    else store.loadError.value = error;
  }

  receive(event) {
    if (event.type === "reset") {
      // The log does not reach back to where we were, or our id is from another database.
      lastEventId = event.id;
      this.read();
      return;
    }
    if (event.id !== null) lastEventId = event.id;
    this.queue.push(event);
    this.timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  flush() {
    this.timer = null;
    if (this.reading) return;
    const events = this.queue;
    this.queue = [];
    batch(() => events.forEach(applyEvent));
  }
}
