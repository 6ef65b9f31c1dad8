/** One message in the stream. The whole row opens it by mouse; its number is the link for keys. */
import { useEffect, useRef } from "../../vendor/preact-hooks.js";
import { navigate } from "../actions.js";
import { Icon } from "../components/icon.js";
import { Badges, ClaimActions, Parties } from "../components/message_parts.js";
import { ReceiptPill } from "../components/receipt.js";
import { Clock, Name } from "../components/text.js";
import { replyTo } from "../draft.js";
import { OPERATOR, excerpt } from "../format.js";
import { html } from "../html.js";
import { watchRow } from "../receipts.js";
import { formatRoute } from "../route.js";
import { route, unread } from "../store.js";

export function MessageRow({ message }) {
  const row = useRef(null);
  useEffect(() => watchRow(row.current), []);
  const isOpen = route.value.open === message.id;
  const css = ["message"];
  if (message.to === OPERATOR) css.push("for-operator");
  if (message.from === OPERATOR) css.push("from-operator");
  if (unread.value.has(message.id)) css.push("unread");
  if (isOpen) css.push("open");

  const onClick = (event) => {
    // A click on a control is the control's; a drag that selected text is reading, not opening.
    if (event.target.closest("a, button") || !getSelection().isCollapsed) return;
    navigate({ open: message.id });
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && event.target === row.current) navigate({ open: message.id });
  };

  return html`
    <article
      ref=${row}
      class=${css.join(" ")}
      data-message=${message.id}
      tabindex="0"
      aria-label=${`Message ${message.id}`}
      onClick=${onClick}
      onKeyDown=${onKeyDown}
    >
      <header class="message-head">
        <${Parties} message=${message} />
        <span class="message-badges"><${Badges} message=${message} /></span>
        <span class="message-when"><${Clock} at=${message.createdAt} /></span>
      </header>
      ${message.subject && html`<p class="subject"><${Name}>${message.subject}<//></p>`}
      <p class="body clamp" dir="auto">${excerpt(message.body)}</p>
      <footer class="message-foot">
        <${ReceiptPill} message=${message} />
        <${ClaimActions} message=${message} />
        <span class="spacer"></span>
        <${ThreadLink} message=${message} />
        <button type="button" class="link" onClick=${() => replyTo(message)}>
          <${Icon} name="reply" />Reply
        </button>
        <a class="link number" href=${formatRoute({ ...route.value, open: message.id })}>#${message.id}</a>
      </footer>
    </article>
  `;
}

function ThreadLink({ message }) {
  if (!message.replyTo || route.value.view === "thread") return null;
  return html`
    <a class="link" href=${formatRoute({ view: "thread", id: message.threadId })}>
      <${Icon} name="thread" />Thread
    </a>
  `;
}
