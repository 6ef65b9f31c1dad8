/** The box to write in: target with completion, who will get it, the words, how urgent. */
import { useEffect, useRef, useState } from "../../vendor/preact-hooks.js";
import { suggestTargets } from "../completion.js";
import { Combobox } from "../components/combobox.js";
import { Icon } from "../components/icon.js";
import { Name } from "../components/text.js";
import * as drafts from "../draft.js";
import { plural } from "../format.js";
import { html } from "../html.js";
import { agents, nameOf } from "../store.js";

const PRIORITIES = ["low", "normal", "high", "urgent"];
const NAMED = 3;

export function Composer() {
  const { to, body, priority, claimable, replyTo } = drafts.draft.value;
  const target = useRef(null);
  const text = useRef(null);
  const focus = drafts.focusRequest.value;
  const [isChoosing, setChoosing] = useState(false);

  useEffect(() => {
    if (focus.count) (focus.field === "to" ? target : text).current.focus();
  }, [focus]);

  const submit = async (event) => {
    event.preventDefault();
    if (drafts.canSend.value && (await drafts.send())) drafts.open.value = false;
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
  };

  return html`
    <form class="composer" data-open=${drafts.open.value} aria-label="Write a message" onSubmit=${submit}>
      <div class="composer-top">
        <label class="to-label" for="composer-to">To</label>
        <${Combobox}
          label="To"
          placeholder="Agent, tag:, cap:, label: or broadcast"
          value=${to}
          options=${suggestTargets([...agents.value.values()], to)}
          inputRef=${target}
          invalid=${drafts.preview.value?.error !== undefined}
          onInput=${(value) => drafts.edit({ to: value })}
          onToggle=${setChoosing}
        />
        <button type="button" class="button quiet icon-only sheet-close" aria-label="Close" onClick=${() => (drafts.open.value = false)}>
          <${Icon} name="close" />
        </button>
      </div>
      <${Preview} isChoosing=${isChoosing} />
      ${replyTo && html`
        <p class="replying">
          <${Icon} name="reply" />Replying to #${replyTo}
          <button type="button" class="link" onClick=${() => drafts.edit({ replyTo: null })}>Not a reply</button>
        </p>
      `}
      <textarea
        ref=${text}
        rows="2"
        aria-label="Message"
        placeholder="Write a message…"
        dir="auto"
        value=${body}
        onInput=${(event) => drafts.edit({ body: event.target.value })}
        onKeyDown=${onKeyDown}
      ></textarea>
      <div class="composer-foot">
        <label class="choice">
          <span>Priority</span>
          <select value=${priority} onChange=${(event) => drafts.edit({ priority: event.target.value })}>
            ${PRIORITIES.map((word) => html`<option key=${word} value=${word}>${word}</option>`)}
          </select>
        </label>
        <label class="choice" title="Many may see it, exactly one takes it">
          <input type="checkbox" checked=${claimable} onChange=${(event) => drafts.edit({ claimable: event.target.checked })} />
          <span>Claimable</span>
        </label>
        <p class="composer-error tone-bad" role="alert">${drafts.sendError.value?.message}</p>
        <button type="submit" class="button primary" disabled=${!drafts.canSend.value} title="Ctrl+Enter">
          <${Icon} name="send" />${drafts.sending.value ? "Sending…" : "Send"}
        </button>
      </div>
    </form>
  `;
}

/** Says before sending who will get it. Half a word, with its completions open, is no mistake. */
function Preview({ isChoosing }) {
  const preview = drafts.preview.value;
  if (!preview || (preview.error && isChoosing)) return html`<p class="preview" role="status"></p>`;
  if (preview.error) return html`<${Refused} ...${preview} />`;
  const { candidates } = preview;
  if (!candidates.length) {
    return html`<p class="preview tone-warn" role="status">Nobody matches now.</p>`;
  }
  const rest = candidates.length - NAMED;
  return html`
    <p class="preview" role="status">
      Goes to${" "}
      ${candidates.slice(0, NAMED).map((candidate, index) => html`
        ${index > 0 && ", "}<${Name} class="strong">${nameOf(candidate.agentId)}<//>
        <span class="muted"> ${candidate.status}</span>
      `)}
      ${rest > 0 && ` and ${rest} more`}
    </p>
  `;
}

const Refused = ({ error, suggestions }) => html`
  <p class="preview tone-warn" role="status">
    ${error.message}
    ${suggestions.slice(0, NAMED).map((id) => html`
      ${" "}<button key=${id} type="button" class="link" onClick=${() => drafts.edit({ to: id })}><${Name}>${id}<//></button>
    `)}
  </p>
`;
