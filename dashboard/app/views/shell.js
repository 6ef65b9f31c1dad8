/** The frame around everything: header with the connection's state, the columns, phone tabs. */
import { logout } from "../actions.js";
import { Icon } from "../components/icon.js";
import { Clock } from "../components/text.js";
import { askFocus } from "../draft.js";
import { html } from "../html.js";
import { formatRoute } from "../route.js";
import * as store from "../store.js";
import { reconnectNow } from "../sync.js";
import { Agents } from "./agents.js";
import { Composer } from "./composer.js";
import { Login } from "./login.js";
import { MessageDetail } from "./message.js";
import { Messages } from "./messages.js";

export function Shell() {
  if (store.session.value.needed) return html`<${Login} />`;
  const { view, open } = store.route.value;
  return html`
    <div class="shell" data-view=${view} data-open=${open !== null}>
      <button type="button" class="skip" onClick=${() => document.getElementById("messages").focus()}>
        Skip to messages
      </button>
      <${Header} />
      <${LostBanner} />
      <aside class="column agents-column" aria-label="Agents"><${Agents} /></aside>
      <main class="column messages-column" id="messages" tabindex="-1">
        <${Messages} />
        <${Composer} />
      </main>
      ${open && html`
        <aside class="column detail-column" aria-label="Message ${open}">
          <${MessageDetail} key=${open} id=${open} />
        </aside>
      `}
      <${PhoneTabs} />
      <${Toast} />
    </div>
  `;
}

const Header = () => html`
  <header class="header">
    <a class="brand" href="#/"><img src="/icon.svg" alt="" width="24" height="24" />Agent Relay</a>
    <nav class="nav" aria-label="Lists">
      <${Tab} view="all" text="Messages" />
      <${Tab} view="inbox" text="For you" count=${store.unread.value.size} loud=${true} />
      <${Tab} view="work" text="Claimable" count=${store.openWork.value} />
    </nav>
    <${ConnectionState} />
    ${store.session.value.used && html`
      <button type="button" class="button quiet" onClick=${logout}>Log out</button>
    `}
  </header>
`;

function Tab({ view, text, count = 0, icon, loud = false }) {
  const current = store.route.value.view === view;
  return html`
    <a class="tab" href=${formatRoute({ view })} aria-current=${current ? "page" : undefined}>
      ${icon && html`<${Icon} name=${icon} />`}
      <span>${text}</span>
      ${count > 0 && html`<span class=${loud ? "count loud" : "count"}>${count}</span>`}
    </a>
  `;
}

const WORDS = {
  live: "Live",
  connecting: "Connecting…",
  lost: "Reconnecting…",
  denied: "Signed out",
};

const ConnectionState = () => {
  const { state } = store.connection.value;
  return html`
    <p class="connection connection-${state}" role="status" data-connection=${state}>
      <span class="dot" aria-hidden="true"></span>${WORDS[state]}
    </p>
  `;
};

/** Says that the page may be out of date; the style lets it wait for more than a blink. */
function LostBanner() {
  const { state, liveAt } = store.connection.value;
  const error = store.loadError.value;
  if (state === "live" || (!liveAt && !error)) return null;
  return html`
    <div class="banner" role="alert">
      <${Icon} name="alert" />
      <p>
        ${error && error.status ? error.message : "No connection to the relay."}
        ${liveAt && html` What you see is from ${html`<${Clock} at=${new Date(liveAt).toISOString()} />`}.`}
      </p>
      <button type="button" class="button small" onClick=${reconnectNow}>Try now</button>
    </div>
  `;
}

const PhoneTabs = () => html`
  <nav class="phone-tabs" aria-label="Pages">
    <${Tab} view="all" text="Messages" icon="thread" />
    <${Tab} view="inbox" text="For you" icon="inbox" count=${store.unread.value.size} loud=${true} />
    <${Tab} view="work" text="Claimable" icon="work" count=${store.openWork.value} />
    <${Tab} view="agents" text="Agents" icon="people" />
    <button type="button" class="tab" onClick=${() => askFocus("to")}>
      <${Icon} name="pen" /><span>Write</span>
    </button>
  </nav>
`;

const Toast = () => {
  const shown = store.toast.value;
  return html`
    <div class="toast-place" role="status">
      ${shown && html`<p class="toast toast-${shown.tone}">${shown.text}</p>`}
    </div>
  `;
};
