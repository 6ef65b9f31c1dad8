/**
 * The message being written. Kept apart from the box, so that "Reply" anywhere fills it and a
 * redraw never loses a word.
 */
import { computed, signal } from "../vendor/preact-signals.js";
import * as api from "./api.js";
import { OPERATOR } from "./format.js";
import { mergeMessages } from "./lists.js";

const EMPTY = { to: "", body: "", subject: "", priority: "normal", claimable: false, replyTo: null };
const PREVIEW_DELAY_MS = 150;

export const draft = signal({ ...EMPTY, key: newKey() });
export const sending = signal(false);
export const sendError = signal(null);
/** null, or {loading} | {candidates} | {error, suggestions} for the target now written. */
export const preview = signal(null);
/** Counts requests to put the cursor into the box; `field` says where. */
export const focusRequest = signal({ count: 0, field: "body" });
/** On a phone the box is a sheet that opens. */
export const open = signal(false);

export const canSend = computed(
  () => draft.value.to.trim() !== "" && draft.value.body.trim() !== "" && !sending.value,
);

/**
 * The same key for every try of one draft, so a retry after a lost answer sends nothing twice.
 * Not randomUUID: browsers offer that on HTTPS only, and a relay on a tailnet is plain HTTP.
 */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function edit(change) {
  draft.value = { ...draft.value, ...change, key: newKey() };
  if ("to" in change) schedulePreview();
}

export function writeTo(to) {
  edit({ to, replyTo: null });
  askFocus("body");
}

export function replyTo(message) {
  edit({ to: message.from === OPERATOR ? message.to : message.from, replyTo: message.id });
  askFocus("body");
}

export function askFocus(field) {
  open.value = true;
  focusRequest.value = { count: focusRequest.value.count + 1, field };
}

/** @returns {Promise<boolean>} whether it was sent; what went wrong is in `sendError`. */
export async function send() {
  const { key, to, body, subject, priority, claimable, replyTo: parent } = draft.value;
  const message = { from: OPERATOR, to: to.trim(), body, priority, claimable };
  if (subject.trim()) message.subject = subject.trim();
  if (parent) message.replyTo = parent;
  sending.value = true;
  sendError.value = null;
  try {
    mergeMessages([await api.sendMessage(message, key)]);
    draft.value = { ...EMPTY, to: draft.value.to, key: newKey() };
    return true;
  } catch (error) {
    sendError.value = error;
    return false;
  } finally {
    sending.value = false;
  }
}

let previewTimer = null;
let previewCall = null;

function schedulePreview() {
  clearTimeout(previewTimer);
  previewCall?.abort();
  sendError.value = null;
  const to = draft.value.to.trim();
  // A prefix alone ("tag:") is a target still being typed, not a mistake to report.
  if (!to || to.endsWith(":")) preview.value = null;
  else previewTimer = setTimeout(loadPreview, PREVIEW_DELAY_MS, to);
}

async function loadPreview(to) {
  const controller = new AbortController();
  previewCall = controller;
  try {
    const { candidates } = await api.previewRoute(to, controller.signal);
    preview.value = { candidates: candidates.filter((candidate) => candidate.matched) };
  } catch (error) {
    if (controller.signal.aborted) return;
    preview.value = { error, suggestions: error.problem?.suggestions ?? [] };
  }
}
