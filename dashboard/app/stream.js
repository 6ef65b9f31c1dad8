/**
 * One Server-Sent-Events connection, read with fetch.
 *
 * Not EventSource: it hides a 401 or 503, gives up on them for good, and cannot send
 * Last-Event-ID on a connection we open ourselves. It also never notices a peer that went silent,
 * which is what a phone that slept or a changed network looks like.
 */
import { errorFrom } from "./api.js";

/** The server writes a ping comment every 15 s; two missed ones mean the line is dead. */
const SILENCE_MS = 35_000;

/** Cut a text stream into events. Call with each chunk; returns the events completed by it. */
export function createParser() {
  let rest = "";
  let event = { type: "message", data: [], id: null };
  return (chunk) => {
    const done = [];
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length) done.push({ ...event, data: event.data.join("\n") });
        event = { type: "message", data: [], id: null };
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") event.type = value;
      else if (field === "data") event.data.push(value);
      else if (field === "id") event.id = value;
    }
    return done;
  };
}

/**
 * Read events until the connection ends; resolves then, rejects when it could not be opened.
 * @param {{url: string, lastEventId: string|null, signal: AbortSignal,
 *          onOpen: () => void, onEvent: (event: object) => void}} options
 */
export async function readEvents({ url, lastEventId, signal, onOpen, onEvent }) {
  const silence = new AbortController();
  const headers = { Accept: "text/event-stream" };
  if (lastEventId !== null) headers["Last-Event-ID"] = lastEventId;
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await fetch(url, {
      headers,
      cache: "no-store",
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (!response.ok) throw await errorFrom(response);
    onOpen();
    const parse = createParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      parse(value).forEach(onEvent);
    }
  } finally {
    clearTimeout(timer);
  }
}
