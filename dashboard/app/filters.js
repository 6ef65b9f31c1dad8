/**
 * A filter names a list of messages: how to ask the relay for it and which known messages belong
 * to it, so that a live message joins the right lists without asking again. Pure.
 */
import { OPERATOR } from "./format.js";

const EVERYTHING = { key: "all", title: "All messages", queries: [{}], matches: () => true };

const INBOX = {
  key: "inbox",
  title: "For you",
  queries: [{ to: OPERATOR }],
  matches: (message) => message.to === OPERATOR,
};

const WORK = {
  key: "work",
  title: "Claimable work",
  queries: [{ claimable: true }],
  matches: (message) => message.claimable,
};

const ofAgent = (id) => ({
  key: `agent:${id}`,
  title: id,
  queries: [{ from: id }, { to: id }],
  matches: (message) => message.from === id || message.to === id,
});

const ofThread = (id) => ({
  key: `thread:${id}`,
  title: `Thread #${id}`,
  thread: id,
  queries: [],
  matches: (message) => message.threadId === id,
});

export function filterFor({ view, id }) {
  if (view === "inbox") return INBOX;
  if (view === "work") return WORK;
  if (view === "agent") return ofAgent(id);
  if (view === "thread") return ofThread(id);
  return EVERYTHING;
}

/**
 * A message known by another list may be older than what this list has loaded; showing it would
 * hide the gap between.
 */
export function inWindow(message, window) {
  return window !== undefined && message.id >= window.oldest;
}
