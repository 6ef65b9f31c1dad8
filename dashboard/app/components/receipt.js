/** Proof of delivery: a word beside each message, a ladder per receiver in its detail. */
import { html } from "../html.js";
import { LADDER, OPERATOR, RECEIPT_LABELS, receiptSummary } from "../format.js";
import { nameOf, receipts } from "../store.js";
import { Clock, Name } from "./text.js";
import { Icon } from "./icon.js";

export function ReceiptPill({ message }) {
  const known = receipts.value.get(message.id);
  if (message.held) return html`<${Pill} tone="bad" text="Held by the loop guard" />`;
  if (!known) return null;
  if (!known.length) return html`<${Pill} tone="bad" text="No receiver" />`;
  const { tone, text, title } = receiptSummary(known);
  // To the person who reads this page, "stored" or "routed" to that same person says nothing.
  if (message.to === OPERATOR && tone !== "good") return null;
  return html`<${Pill} ...${{ tone, text, title }} />`;
}

const ICONS = { good: "check", bad: "alert", wait: null };

const Pill = ({ tone, text, title }) => html`
  <span class="receipt receipt-${tone}" title=${title}>
    ${ICONS[tone] && html`<${Icon} name=${ICONS[tone]} />`}${text}
  </span>
`;

const TIMES = {
  routed: "routedAt",
  handed: "handedAt",
  in_context: "inContextAt",
  read: "readAt",
  replied: "repliedAt",
};

/** One receiver's way, step by step; a step without a time was not reached or not reported. */
export function ReceiptLadder({ receipt }) {
  const stray = !LADDER.includes(receipt.state) && receipt.state !== "stored";
  const reached = LADDER.indexOf(receipt.state);
  return html`
    <li class="ladder">
      <p class="ladder-head">
        <${Name} class="strong">${nameOf(receipt.agentId)}<//>
        <span class=${stray ? "tone-bad" : reached >= 2 ? "tone-good" : "muted"}>
          ${RECEIPT_LABELS[receipt.state] ?? receipt.state}
        </span>
      </p>
      <ol class="ladder-steps">
        ${LADDER.map(
          (state, index) => html`
            <li key=${state} class=${index <= reached ? "step reached" : "step"}>
              <span class="step-name">${RECEIPT_LABELS[state]}</span>
              <span class="step-time">
                ${receipt[TIMES[state]]
                  ? html`<${Clock} at=${receipt[TIMES[state]]} />`
                  : index <= reached ? "✓" : "–"}
              </span>
            </li>
          `,
        )}
      </ol>
      ${receipt.detail && html`<p class="muted small"><${Name}>${receipt.detail}<//></p>`}
    </li>
  `;
}
