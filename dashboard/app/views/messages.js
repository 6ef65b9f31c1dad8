/** The stream of messages: oldest on top, newest kept in sight unless somebody scrolled up. */
import { useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact-hooks.js";
import { Icon } from "../components/icon.js";
import { Ago, Empty, Failure, Loading, Name } from "../components/text.js";
import { writeTo } from "../draft.js";
import { REACH_LABELS, STATUS_LABELS, plural } from "../format.js";
import { html } from "../html.js";
import { loadOlder } from "../lists.js";
import * as store from "../store.js";
import { MessageRow } from "./message_row.js";

/** Rows beyond this are reached by "older"; the DOM stays small on a page open all day. */
const MAX_ROWS = 300;
/** Within this distance of the end the reader counts as being at the end. */
const END_PX = 60;

export function Messages() {
  const filter = store.filter.value;
  return html`
    <${Head} filter=${filter} />
    <${Stream} key=${filter.key} filter=${filter} />
  `;
}

function Stream({ filter }) {
  const window = store.windows.value.get(filter.key);
  const rows = store.visibleMessages.value.slice(-MAX_ROWS);
  const box = useRef(null);
  const end = useRef({ stick: true, seen: 0 });
  const [fresh, setFresh] = useState(0);
  const newest = rows.at(-1)?.id ?? 0;

  const toEnd = () => {
    // A last resize or scroll is reported after another list has taken this one's place.
    if (!box.current) return;
    box.current.scrollTop = box.current.scrollHeight;
    setFresh(0);
  };

  useLayoutEffect(() => {
    if (end.current.stick) toEnd();
    else if (newest > end.current.seen)
      setFresh(rows.filter((message) => message.id > end.current.seen).length);
    if (end.current.stick) end.current.seen = newest;
  }, [newest, rows.length]);

  // Receipts, a growing composer or a turned phone change the height under an unmoved reader.
  useEffect(() => {
    const observer = new ResizeObserver(() => end.current.stick && toEnd());
    observer.observe(box.current);
    observer.observe(box.current.firstElementChild);
    return () => observer.disconnect();
  }, []);

  const onScroll = (event) => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
    end.current.stick = scrollHeight - scrollTop - clientHeight < END_PX;
    if (end.current.stick) {
      end.current.seen = newest;
      setFresh(0);
    }
  };

  return html`
    <div class="stream-place">
      <div class="scroll stream" ref=${box} onScroll=${onScroll} tabindex="-1">
        <div class="stream-inner">
          <${Older} filter=${filter} window=${window} any=${rows.length > 0} />
          <div role="log" aria-label=${filter.title} aria-live="polite">
            ${rows.map((message) => html`<${MessageRow} key=${message.id} message=${message} />`)}
          </div>
        </div>
      </div>
      ${fresh > 0 && html`
        <button type="button" class="fresh" onClick=${toEnd}>${plural(fresh, "new message")} ↓</button>
      `}
    </div>
  `;
}

function Older({ filter, window, any }) {
  if (!window || (window.loading && !any)) return html`<${Loading} what="messages" />`;
  if (window.error) {
    return html`<${Failure} error=${window.error} onRetry=${() => loadOlder(filter)} />`;
  }
  if (window.more) {
    return html`
      <p class="older">
        <button type="button" class="button small" disabled=${window.loading} onClick=${() => loadOlder(filter)}>
          ${window.loading ? "Loading…" : "Show older messages"}
        </button>
      </p>
    `;
  }
  return any ? html`<p class="older muted small">This is where it begins.</p>` : html`<${Nothing} filter=${filter} />`;
}

const NOTHING = {
  all: ["No messages yet", "What agents and people send to each other appears here at once."],
  inbox: ["Nothing for you", "Messages an agent sends to “operator” appear here."],
  work: ["No claimable work", "Work that exactly one agent may take appears here."],
};

function Nothing({ filter }) {
  const [title, text] = NOTHING[filter.key] ?? ["No messages", "Nothing is stored here."];
  return html`<${Empty} title=${title}>${text}<//>`;
}

function Head({ filter }) {
  const { view, id } = store.route.value;
  const agent = view === "agent" ? store.agents.value.get(id) : null;
  return html`
    <div class="column-head">
      ${["agent", "thread"].includes(view) && html`
        <a class="button quiet icon-only" href="#/" aria-label="All messages"><${Icon} name="back" /></a>
      `}
      <h2><${Name}>${agent ? store.nameOf(id) : filter.title}<//></h2>
      ${agent && html`
        <span class="spacer"></span>
        <button type="button" class="button small" onClick=${() => writeTo(id)}>Write to it</button>
      `}
    </div>
    ${agent && html`<${AgentFacts} agent=${agent} />`}
  `;
}

/** What the list on the left has no room for. */
function AgentFacts({ agent }) {
  const facts = [
    ["State", [STATUS_LABELS[agent.status], agent.statusDetail].filter(Boolean).join(" · ")],
    ["Address", agent.id],
    ["Folder", agent.cwd],
    ["Tags", agent.tags?.join(", ")],
    ["Capabilities", agent.capabilities?.join(", ")],
    ["Channels", agent.channels?.join(", ")],
    ["Messages", REACH_LABELS[agent.reachability]],
    ["Last proof of it", agent.lastProofAt && html`<${Ago} at=${agent.lastProofAt} />`],
    ["Last seen", agent.lastSeenAt && html`<${Ago} at=${agent.lastSeenAt} />`],
    ["Approval mode", agent.approvalMode],
  ].filter(([, value]) => value);
  return html`
    <dl class="facts">
      ${facts.map(([name, value]) => html`
        <div key=${name}><dt>${name}</dt><dd><${Name}>${value}<//></dd></div>
      `)}
    </dl>
  `;
}
