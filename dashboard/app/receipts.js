/**
 * Receipts of the messages on screen. They are asked for when a row comes into view, so a list of
 * thousands costs a handful of calls; live reports are merged into what is known.
 */
import * as api from "./api.js";
import { patchMap, receipts } from "./store.js";

/** A scroll through a long list must not open a hundred requests at once. */
const PARALLEL = 4;

const shown = new Map();
const waiting = new Set();
const inFlight = new Set();

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const id = Number(target.dataset.message);
    if (!isIntersecting) shown.delete(target);
    else {
      shown.set(target, id);
      if (!receipts.value.has(id)) request(id);
    }
  }
});

/** Follow a row while it is on screen; returns the function that stops it. */
export function watchRow(element) {
  observer.observe(element);
  return () => {
    observer.unobserve(element);
    shown.delete(element);
  };
}

/** Ask again for all on screen and forget the rest: after a lost connection all may be old. */
export function refreshShownReceipts() {
  const ids = new Set(shown.values());
  receipts.value = new Map([...receipts.value].filter(([id]) => ids.has(id)));
  ids.forEach(request);
}

/** A receiver's report from the event stream. */
export function mergeReceipt(id, receipt) {
  // An answer under way may be older than this report: ask once more after it.
  if (inFlight.has(id)) request(id);
  const known = receipts.value.get(id);
  if (!known) return;
  const others = known.filter(({ agentId }) => agentId !== receipt.agentId);
  patchMap(receipts, [[id, [...others, receipt]]]);
}

function request(id) {
  waiting.add(id);
  work();
}

const nextId = () => [...waiting].find((id) => !inFlight.has(id));

async function work() {
  const id = nextId();
  if (id === undefined || inFlight.size >= PARALLEL) return;
  waiting.delete(id);
  inFlight.add(id);
  try {
    const message = await api.getMessage(id);
    patchMap(receipts, [[id, message.receipts]]);
  } catch {
    // Without a receipt the row shows none; the next event or read asks again.
  }
  inFlight.delete(id);
  work();
}
