/** What a row and the detail show alike: who wrote to whom, badges, claiming. */
import * as actions from "../actions.js";
import { OPERATOR } from "../format.js";
import { html } from "../html.js";
import { formatRoute } from "../route.js";
import { agents, nameOf } from "../store.js";
import { Name } from "./text.js";

const Party = ({ id, class: css }) =>
  agents.value.has(id) && id !== OPERATOR
    ? html`<a class=${css} href=${formatRoute({ view: "agent", id })}><${Name}>${nameOf(id)}<//></a>`
    : html`<${Name} class=${css}>${nameOf(id)}<//>`;

export const Parties = ({ message }) => html`
  <span class="parties">
    <${Party} id=${message.from} class="sender" />
    <span class="arrow" aria-label="to">→</span>
    <${Party} id=${message.to} class="target" />
  </span>
`;

export const Badges = ({ message }) => html`
  ${["high", "urgent"].includes(message.priority) && html`
    <span class="badge priority-${message.priority}">${message.priority}</span>
  `}
  ${message.channel && html`<span class="badge">#<${Name}>${message.channel}<//></span>`}
  ${message.claimable && html`<${ClaimState} claim=${message.claim} />`}
`;

function ClaimState({ claim }) {
  if (!claim) return html`<span class="badge claim-open">Open to claim</span>`;
  const word = claim.completedAt ? "Done by" : "Claimed by";
  return html`
    <span class=${claim.completedAt ? "badge claim-done" : "badge claim-held"}>
      ${word} <${Name}>${nameOf(claim.agentId)}<//>
    </span>
  `;
}

/** The next step of claimable work, for the person at this page. */
export function ClaimActions({ message }) {
  if (!message.claimable || message.claim?.completedAt) return null;
  const button = (text, action) => html`
    <button type="button" class="button small" onClick=${() => action(message)}>${text}</button>
  `;
  if (!message.claim) return button("Claim", actions.claim);
  if (message.claim.agentId !== OPERATOR) return null;
  return html`${button("Complete", actions.complete)}${button("Release", actions.release)}`;
}
