/**
 * What the page knows: signals, the only mutable state. Changed by sync.js (from the relay) and
 * actions.js (by the person); views read it and never write data into it.
 */
import { computed, signal } from "../vendor/preact-signals.js";
import { filterFor, inWindow } from "./filters.js";
import { OPERATOR, isOnline } from "./format.js";
import { parseRoute } from "./route.js";

/**
 * `state`: connecting | live | lost | denied; `liveAt`: until when the page was true;
 * `retryAt`: when the next try comes.
 */
export const connection = signal({ state: "connecting", liveAt: null, retryAt: null });
/** `needed`: the relay wants a token; `used`: we logged in with one, so logging out makes sense. */
export const session = signal({ needed: false, used: false });

export const agents = signal(new Map());
export const messages = signal(new Map());
/** Message id -> its receipts, for those that were shown. */
export const receipts = signal(new Map());
/** Filter key -> {oldest, more, loading, error}: which part of that list is loaded. */
export const windows = signal(new Map());
/** False until the first complete read. */
export const loaded = signal(false);
export const loadError = signal(null);
export const unread = signal(new Set());

export const route = signal(parseRoute(location.hash));
export const toast = signal(null);
/** Text that find-as-you-type narrows the agents by. */
export const agentQuery = signal("");
/** Ticks so that relative times stay true. */
export const now = signal(Date.now());

export const filter = computed(() => filterFor(route.value));

export const visibleMessages = computed(() => {
  const window = windows.value.get(filter.value.key);
  return [...messages.value.values()]
    .filter((message) => inWindow(message, window) && filter.value.matches(message))
    .sort((a, b) => a.id - b.id);
});

export const openWork = computed(
  () => [...messages.value.values()].filter((m) => m.claimable && !m.claim).length,
);

export const onlineCount = computed(
  () => [...agents.value.values()].filter((a) => !a.builtIn && isOnline(a)).length,
);

/** What a person calls an agent; ids of agents that are gone stay ids. */
export function nameOf(id) {
  if (id === OPERATOR) return "operator";
  const agent = agents.value.get(id);
  return agent?.label || agent?.name || id;
}

/** Signals compare by identity, so a changed map is a new map. */
export function patchMap(target, entries) {
  const next = new Map(target.value);
  for (const [key, value] of entries) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  target.value = next;
}
