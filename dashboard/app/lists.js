/** Loads pages of messages into the store's windows: first pages, older pages, fresh copies. */
import { batch } from "../vendor/preact-signals.js";
import * as api from "./api.js";
import { filterFor } from "./filters.js";
import { OPERATOR } from "./format.js";
import * as store from "./store.js";

const PAGE = 50;
/** After a lost connection at most this many are read again; older ones when asked for. */
const KEEP = 600;
const FRESH_PAGE = 200;

const ALL = filterFor({ view: "all", id: null });

/** @returns {Promise<{messages: object[], oldest: number, more: boolean}>} one page of a filter */
async function loadPage(filter, before, limit = PAGE) {
  if (filter.thread) {
    const { messages } = await api.getThread(filter.thread);
    return { messages, oldest: 0, more: false };
  }
  const pages = await Promise.all(
    filter.queries.map((query) => api.listMessages({ ...query, before, limit })),
  );
  const open = pages.filter((page) => page.more);
  // Where one of several queries has more to come, the list is complete only down to its end.
  const oldest = Math.max(0, ...open.map((page) => Math.min(...page.messages.map((m) => m.id))));
  return { messages: pages.flatMap((page) => page.messages), oldest, more: open.length > 0 };
}

/** Everything that was loaded, read again: all messages as far back, and the list shown. */
export async function loadFresh() {
  const reach = store.windows.value.get(ALL.key)?.oldest ?? Infinity;
  const messages = new Map();
  const windows = new Map();
  const take = (filter, page) => {
    page.messages.forEach((message) => messages.set(message.id, message));
    const { oldest, more } = page;
    windows.set(filter.key, { oldest, more, loading: false, error: null });
  };
  let page = await loadPage(ALL);
  take(ALL, page);
  while (page.more && page.oldest > reach && messages.size < KEEP) {
    page = await loadPage(ALL, page.oldest, FRESH_PAGE);
    take(ALL, page);
  }
  const shown = store.filter.value;
  if (shown.key !== ALL.key) take(shown, await loadPage(shown).catch(emptyWhenGone));
  return { messages, windows };
}

/** A thread or agent named in the address may not exist any more; that is an empty list. */
function emptyWhenGone(error) {
  if (error.status === 404) return { messages: [], oldest: 0, more: false };
  throw error;
}

/** Ids of what the operator has not read. */
export async function loadUnread() {
  const { messages } = await api.listMessages({
    for: OPERATOR,
    since: 0,
    unread: true,
    limit: 500,
  });
  return new Set(messages.map((message) => message.id));
}

export function mergeMessages(list) {
  store.patchMap(
    store.messages,
    list.map((message) => [message.id, message]),
  );
}

function setWindow(key, change) {
  const before = store.windows.value.get(key) ?? { oldest: Infinity, more: true };
  store.patchMap(store.windows, [[key, { ...before, loading: false, error: null, ...change }]]);
}

async function extend(filter, before) {
  setWindow(filter.key, { loading: true });
  try {
    const page = await loadPage(filter, before).catch(emptyWhenGone);
    batch(() => {
      mergeMessages(page.messages);
      setWindow(filter.key, { oldest: page.oldest, more: page.more });
    });
  } catch (error) {
    setWindow(filter.key, { error });
  }
}

/** Load a list the first time it is shown. */
export function ensureLoaded(filter) {
  if (!store.windows.value.has(filter.key)) extend(filter);
}

/** The next older page of a list, or its first page again after an error. */
export function loadOlder(filter) {
  const { oldest, loading } = store.windows.value.get(filter.key);
  if (!loading) extend(filter, Number.isFinite(oldest) ? oldest : undefined);
}
