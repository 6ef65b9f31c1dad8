/** What a person can do. Each calls the relay, then tells the store; failures become a toast. */
import * as api from "./api.js";
import { OPERATOR } from "./format.js";
import { mergeMessages } from "./lists.js";
import { formatRoute } from "./route.js";
import * as store from "./store.js";
import { reconnectNow } from "./sync.js";

const TOAST_MS = 6000;
let toastTimer = null;

export function notify(text, tone = "info") {
  clearTimeout(toastTimer);
  store.toast.value = { text, tone };
  toastTimer = setTimeout(() => (store.toast.value = null), TOAST_MS);
}

export function navigate(change) {
  location.hash = formatRoute({ ...store.route.value, ...change });
}

export async function login(token) {
  await api.login(token);
  store.session.value = { needed: false, used: true };
  reconnectNow();
}

export async function logout() {
  await attempt(() => api.logout());
  location.reload();
}

/** Run a call and show its failure; returns undefined then. */
async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error.status === 401) store.session.value = { ...store.session.value, needed: true };
    else notify(error.message, "error");
    return undefined;
  }
}

/** Claim, release and complete answer with the changed message. */
async function change(action) {
  const message = await attempt(action);
  if (message?.body !== undefined) mergeMessages([message]);
}

export const claim = ({ id }) => change(() => api.claimMessage(id, OPERATOR));
export const release = ({ id }) => change(() => api.releaseMessage(id, OPERATOR));
export const complete = ({ id }) => change(() => api.completeMessage(id, OPERATOR));

/** Opening a message addressed to the operator reads it. */
export async function markRead(id) {
  if (!store.unread.value.has(id)) return;
  store.unread.value = new Set([...store.unread.value].filter((other) => other !== id));
  await attempt(() => api.readMessage(id, OPERATOR));
}
