/**
 * Receipts of the messages on screen. They are asked for when a row comes into view, so a list of
 * thousands costs a handful of calls; live events refresh only what is shown.
 */
import * as api from "./api.js";
import { patchMap, receipts } from "./store.js";

/** A scroll through a long list must not open a hundred requests at once. */
const PARALLEL = 4;

const shown = new Map();
const waiting = new Set();
let running = 0;

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

/** Ask again for one message, or for all on screen after a connection was lost. */
export function refreshShownReceipts(id = null) {
  const ids = new Set(shown.values());
  if (id === null) ids.forEach(request);
  else if (ids.has(id) || receipts.value.has(id)) request(id);
}

function request(id) {
  waiting.add(id);
  work();
}

async function work() {
  if (running >= PARALLEL) return;
  running += 1;
  for (const id of waiting) {
    waiting.delete(id);
    try {
      const message = await api.getMessage(id);
      patchMap(receipts, [[id, message.receipts]]);
    } catch {
      // Without a receipt the row shows none; the next event or read asks again.
    }
  }
  running -= 1;
}
