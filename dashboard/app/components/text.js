/** Small pieces of text that need care: other people's words, times, states of a list. */
import { html } from "../html.js";
import { ago, clock } from "../format.js";
import { now } from "../store.js";

/** A name somebody else chose: its writing direction must not reorder what stands beside it. */
export const Name = ({ children, class: css }) => html`<bdi class=${css}>${children}</bdi>`;

export const Clock = ({ at }) => html`
  <time datetime=${at} title=${new Date(at).toLocaleString()}>${clock(at, now.value)}</time>
`;

export const Ago = ({ at }) => html`
  <time datetime=${at} title=${new Date(at).toLocaleString()}>${ago(at, now.value)}</time>
`;

export const Empty = ({ title, children }) => html`
  <div class="empty">
    <p class="empty-title">${title}</p>
    <p>${children}</p>
  </div>
`;

export const Loading = ({ what }) => html`<p class="empty" role="status">Loading ${what}…</p>`;

export const Failure = ({ error, onRetry }) => html`
  <div class="empty failure" role="alert">
    <p class="empty-title">That did not work</p>
    <p>${error.message}</p>
    <button type="button" class="button" onClick=${onRetry}>Try again</button>
  </div>
`;
