/** Applies one relay event to the store. Unknown kinds are left to the views that will show them. */
import * as api from "./api.js";
import { OPERATOR } from "./format.js";
import { mergeMessages } from "./lists.js";
import { mergeReceipt } from "./receipts.js";
import * as store from "./store.js";

/** Unread counts follow messages; counting them at most this often keeps a busy relay calm. */
const COUNT_DELAY_MS = 1500;

let countTimer = null;

/** @param {{type: string, data: string}} event as the stream gave it */
export function applyEvent({ type, data }) {
  const value = parse(data);
  if (type === "agent.removed") forgetAgent(value);
  else if (type.startsWith("agent.")) applyAgent(value);
  else if (type === "message.deleted") forgetMessage(value);
  else if (type === "message.receipt") applyReceipt(value);
  else if (type.startsWith("message.")) applyMessage(type, value);
}

/** A malformed event is nobody's fault the reader could repair; the next full read does. */
function parse(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}

const agentId = (value) => value.agent?.id ?? value.agentId;
const messageId = (value) => value.message?.id ?? value.messageId;

function forgetAgent(value) {
  store.patchMap(store.agents, [[agentId(value), null]]);
}

function applyAgent(value) {
  const id = agentId(value);
  const known = store.agents.value.get(id);
  if (!value.agent) return;
  // A status event does not count the inbox: the last count stays until the next read.
  store.patchMap(store.agents, [[id, { ...known, ...value.agent }]]);
}

function forgetMessage(value) {
  store.patchMap(store.messages, [[messageId(value), null]]);
}

function applyReceipt(value) {
  if (value.receipt) mergeReceipt(messageId(value), value.receipt);
  countSoon();
}

function applyMessage(type, value) {
  const { message } = value;
  if (!message) return;
  countSoon();
  mergeMessages([message]);
  if (type === "message.created" && message.to === OPERATOR)
    store.unread.value = new Set([...store.unread.value, message.id]);
}

function countSoon() {
  countTimer ??= setTimeout(refreshAgents, COUNT_DELAY_MS);
}

export async function refreshAgents() {
  clearTimeout(countTimer);
  countTimer = null;
  if (store.connection.value.state !== "live") return;
  try {
    const { agents } = await api.listAgents();
    store.agents.value = new Map(agents.map((agent) => [agent.id, agent]));
  } catch {
    // The stream notices a relay that is gone, and the read that follows repairs the page.
  }
}
