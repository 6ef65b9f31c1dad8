/**
 * The address after `#`: which list is shown and which message is open. Pure.
 *
 *     #/            everything            #/agent/ID    one agent's
 *     #/inbox       to the operator       #/thread/N    one conversation
 *     #/work        open claimable work   #/agents      the agents (a page on a phone)
 *     ...?m=N       message N is open beside it
 */

const LISTS = ["inbox", "work", "agents"];

export function parseRoute(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, argument] = path.split("/");
  const open = Number(new URLSearchParams(search).get("m")) || null;
  if (view === "agent" && argument) return { view, id: decode(argument), open };
  if (view === "thread" && Number(argument)) return { view, id: Number(argument), open };
  return { view: LISTS.includes(view) ? view : "all", id: null, open };
}

/** A hand-edited address must not break the page. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function formatRoute({ view, id = null, open = null }) {
  const path = view === "all" ? "" : id === null ? view : `${view}/${encodeURIComponent(id)}`;
  return `#/${path}${open ? `?m=${open}` : ""}`;
}
