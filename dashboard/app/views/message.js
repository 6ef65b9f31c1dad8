/** One message in full: its words, its receivers' receipts, its thread. */
import { useEffect, useState } from "../../vendor/preact-hooks.js";
import { markRead, navigate } from "../actions.js";
import * as api from "../api.js";
import { Icon } from "../components/icon.js";
import { Badges, ClaimActions, Parties } from "../components/message_parts.js";
import { ReceiptLadder } from "../components/receipt.js";
import { Clock, Failure, Loading, Name } from "../components/text.js";
import { replyTo } from "../draft.js";
import { excerpt, plural } from "../format.js";
import { html } from "../html.js";
import { mergeMessages } from "../lists.js";
import { formatRoute } from "../route.js";
import { messages, nameOf, patchMap, receipts, route } from "../store.js";

export function MessageDetail({ id }) {
  const [thread, setThread] = useState([]);
  const [error, setError] = useState(null);
  const [tries, setTries] = useState(0);
  const message = messages.value.get(id);

  useEffect(() => {
    let current = true;
    setError(null);
    Promise.all([api.getMessage(id), api.getThread(id)]).then(
      ([{ receipts: known, ...whole }, conversation]) => {
        if (!current) return;
        mergeMessages([whole]);
        patchMap(receipts, [[id, known]]);
        setThread(conversation.messages);
        markRead(id);
      },
      (problem) => current && setError(problem),
    );
    return () => (current = false);
  }, [id, tries]);

  return html`
    <div class="column-head">
      <h2>Message #${id}</h2>
      <span class="spacer"></span>
      <button type="button" class="button quiet icon-only" aria-label="Close" onClick=${() => navigate({ open: null })}>
        <${Icon} name="close" />
      </button>
    </div>
    <div class="scroll detail">
      ${error && html`<${Failure} error=${error} onRetry=${() => setTries(tries + 1)} />`}
      ${!message && !error && html`<${Loading} what="the message" />`}
      ${message && html`<${Whole} message=${message} />`}
      ${message && html`<${Receivers} message=${message} />`}
      ${thread.length > 1 && html`<${Conversation} thread=${thread} id=${id} />`}
    </div>
  `;
}

/** The sender's payload, without the mark by which daemons recognise their own messages. */
function payloadOf(message) {
  const { agentRelay, ...rest } = message.payload ?? {};
  return Object.keys(rest).length ? rest : null;
}

const Whole = ({ message }) => html`
  <div class="detail-head">
    <p class="detail-parties"><${Parties} message=${message} /></p>
    <p class="muted small"><${Clock} at=${message.createdAt} /></p>
  </div>
  <p class="detail-badges"><${Badges} message=${message} /></p>
  ${message.subject && html`<h3 class="subject"><${Name}>${message.subject}<//></h3>`}
  <p class="body" dir="auto">${message.body}</p>
  ${payloadOf(message) && html`<pre class="payload" dir="ltr">${JSON.stringify(payloadOf(message), null, 2)}</pre>`}
  <p class="detail-actions">
    <button type="button" class="button small" onClick=${() => replyTo(message)}>
      <${Icon} name="reply" />Reply
    </button>
    <${ClaimActions} message=${message} />
  </p>
`;

function Receivers({ message }) {
  const known = receipts.value.get(message.id);
  if (!known) return null;
  return html`
    <section aria-labelledby="receivers">
      <h3 class="group-head" id="receivers">
        ${known.length ? plural(known.length, "receiver") : "No receiver"}
      </h3>
      <ul class="ladders">
        ${known.map((receipt) => html`<${ReceiptLadder} key=${receipt.agentId} receipt=${receipt} />`)}
      </ul>
    </section>
  `;
}

const Conversation = ({ thread, id }) => html`
  <section aria-labelledby="conversation">
    <h3 class="group-head" id="conversation">
      Thread, ${plural(thread.length, "message")}
      <a class="link" href=${formatRoute({ view: "thread", id: thread[0].threadId, open: id })}>Show in stream</a>
    </h3>
    <ol class="thread">
      ${thread.map((message) => html`
        <li key=${message.id} class=${message.id === id ? "thread-item current" : "thread-item"}>
          <a href=${formatRoute({ ...route.value, open: message.id })}>
            <span class="thread-head">
              <${Name} class="strong">${nameOf(message.from)}<//>
              <span class="muted small"><${Clock} at=${message.createdAt} /></span>
            </span>
            <span class="thread-text" dir="auto">${excerpt(message.body, 160)}</span>
          </a>
        </li>
      `)}
    </ol>
  </section>
`;
