/** Line icons, 16 × 16, drawn in the text's colour. Decorative: the text beside them names them. */
import { html } from "../html.js";

const PATHS = {
  push: "M9 1.5 3.500 9H8l-1 5.500L12.500 7H8z",
  boundary: "M3 8h7m-3-3 3 3-3 3M13 3v10",
  poll: "M13 8a5 5 0 1 1-1.600-3.700M13 2v3h-3",
  none: "M3.500 3.500l9 9M8 2.500a5.500 5.500 0 1 1 0 11 5.500 5.500 0 0 1 0-11z",
  reply: "M6.500 3.500 2.500 7.500l4 4M3 7.500h6a4 4 0 0 1 4 4v1",
  thread: "M2.500 3.500h11v7h-6l-3 2.500v-2.500h-2z",
  close: "M4 4l8 8m0-8-8 8",
  back: "M10 3 5 8l5 5",
  send: "M2.500 8 13.500 2.500 11 13.500 7.500 9z",
  check: "M3 8.500 6.500 12 13 4.500",
  alert: "M8 2 14.500 13.500h-13zM8 6.500v3m0 1.800v.2",
  people: "M6 7.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zm-4.500 6c0-2.500 2-4 4.500-4s4.500 1.500 4.500 4M11 3a2.300 2.300 0 0 1 0 4.300M12 9.800c1.600.5 2.500 1.800 2.500 3.700",
  inbox: "M2 9.500 4 3h8l2 6.500v3.500H2zM2 9.500h3.500l1 1.800h3l1-1.800H14",
  work: "M3 3.500h10v9H3zM5.500 8 7.300 9.800 10.500 6.300",
  pen: "M3 13l.7-3L10.500 3.200l2.300 2.300L6 12.300z",
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>
`;
