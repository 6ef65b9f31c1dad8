/** Starts the page: route, data, view. */
import { render } from "../vendor/preact.js";
import { effect } from "../vendor/preact-signals.js";
import { html } from "./html.js";
import { ensureLoaded } from "./lists.js";
import { installKeys } from "./keys.js";
import { parseRoute } from "./route.js";
import * as store from "./store.js";
import { run } from "./sync.js";
import { Shell } from "./views/shell.js";

addEventListener("hashchange", () => (store.route.value = parseRoute(location.hash)));

effect(() => {
  const filter = store.filter.value;
  if (store.loaded.value) ensureLoaded(filter);
});

effect(() => {
  const count = store.unread.value.size;
  document.title = count ? `(${count}) Agent Relay` : "Agent Relay";
});

installKeys();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${Shell} />`, root);
run();
