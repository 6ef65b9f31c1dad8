/** Words and times for people. Pure: the clock is an argument. */

export const OPERATOR = "operator";

const STATUS_ORDER = { waiting: 0, busy: 1, idle: 2, offline: 3 };
export const STATUS_LABELS = {
  waiting: "Waiting for you",
  busy: "Busy",
  idle: "Idle",
  offline: "Offline",
};

export const REACH_LABELS = {
  push: "Reached at once",
  boundary: "Reached after its turn",
  poll: "Reads when it asks",
  none: "Cannot be reached",
};

/** How far a message got, in order; `held`, `failed` and `expired` stand outside. */
export const LADDER = ["routed", "handed", "in_context", "read", "replied"];
export const RECEIPT_LABELS = {
  stored: "Stored",
  routed: "Routed",
  handed: "Handed",
  in_context: "In context",
  read: "Read",
  replied: "Replied",
  held: "Held",
  failed: "Failed",
  expired: "Expired",
};

export const isOnline = (agent) => agent.status !== "offline";

export function byPresence(a, b) {
  const order = (STATUS_ORDER[a.status] ?? 9) - (STATUS_ORDER[b.status] ?? 9);
  return order || agentName(a).localeCompare(agentName(b));
}

export const agentName = (agent) => agent.label || agent.name || agent.id;

/** Seconds, minutes, hours, days: one unit is enough beside a full time in the tooltip. */
export function ago(then, now) {
  const seconds = Math.round((now - Date.parse(then)) / 1000);
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 10) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** Time of day for today, with the date before that. */
export function clock(then, now) {
  const date = new Date(then);
  if (Number.isNaN(date.getTime())) return "";
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`;
}

/** A row shows the start of a long body: 64 KB in each of 200 rows would stall the page. */
export function excerpt(body, limit = 1200) {
  return body.length > limit ? `${body.slice(0, limit)}…` : body;
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/**
 * One line for all receivers of a message.
 * @returns {{tone: string, state: string, text: string, title: string}}
 */
export function receiptSummary(receipts) {
  const total = receipts.length;
  const trouble = receipts.find((r) => ["failed", "held", "expired"].includes(r.state));
  if (trouble) {
    const text = RECEIPT_LABELS[trouble.state];
    return { tone: "bad", state: trouble.state, text, title: describe(receipts) };
  }
  const step = (receipt) => LADDER.indexOf(receipt.state);
  const best = Math.max(...receipts.map(step));
  if (best < 0) return { tone: "wait", state: "stored", text: "Stored", title: describe(receipts) };
  const state = LADDER[best];
  const reached = receipts.filter((receipt) => step(receipt) >= best).length;
  const count = total > 1 ? ` ${reached}/${total}` : "";
  const tone = best >= LADDER.indexOf("in_context") ? "good" : "wait";
  return { tone, state, text: RECEIPT_LABELS[state] + count, title: describe(receipts) };
}

const describe = (receipts) =>
  receipts.map((r) => `${r.agentId}: ${RECEIPT_LABELS[r.state] || r.state}`).join("\n");
