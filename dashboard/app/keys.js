/** Keyboard: j/k walk the messages, r replies, c composes, / finds an agent, Esc closes. */
import { navigate } from "./actions.js";
import * as drafts from "./draft.js";
import * as store from "./store.js";

const isTyping = (target) => target.closest("input, textarea, select, [role=listbox]") !== null;

function walk(step) {
  const rows = [...document.querySelectorAll("[data-message]")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement.closest("[data-message]"));
  const next = at < 0 ? rows.length - 1 : Math.min(rows.length - 1, Math.max(0, at + step));
  rows[next].focus();
}

function reply() {
  const row = document.activeElement.closest("[data-message]");
  const id = Number(row?.dataset.message) || store.route.value.open;
  const message = store.messages.value.get(id);
  if (message) drafts.replyTo(message);
}

const KEYS = {
  j: () => walk(1),
  k: () => walk(-1),
  r: reply,
  c: () => drafts.askFocus("to"),
  "/": () => document.getElementById("find-agent")?.focus(),
};

export function installKeys() {
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) {
      if (isTyping(event.target)) event.target.blur();
      drafts.open.value = false;
      if (store.route.value.open) navigate({ open: null });
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const action = KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
