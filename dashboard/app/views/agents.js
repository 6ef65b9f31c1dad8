/** The agents: who is there, where, what each does now and whether it can be reached. */
import { Icon } from "../components/icon.js";
import { Ago, Empty, Loading, Name } from "../components/text.js";
import { REACH_LABELS, STATUS_LABELS, agentName, byPresence, isOnline } from "../format.js";
import { html } from "../html.js";
import { formatRoute } from "../route.js";
import { agentQuery, agents, loaded, onlineCount, route } from "../store.js";

export function Agents() {
  const everyone = [...agents.value.values()].filter((agent) => !agent.builtIn);
  const found = everyone.filter((agent) => fits(agent, agentQuery.value)).sort(byPresence);
  const online = found.filter(isOnline);
  const offline = found.filter((agent) => !isOnline(agent));
  return html`
    <div class="column-head">
      <h2>Agents</h2>
      <p class="muted small">${loaded.value && `${onlineCount.value} of ${everyone.length} online`}</p>
    </div>
    <div class="find">
      <input
        id="find-agent"
        type="search"
        placeholder="Find by name, project, tag…"
        aria-label="Find agents"
        value=${agentQuery.value}
        onInput=${(event) => (agentQuery.value = event.target.value)}
      />
    </div>
    <div class="scroll">
      ${!loaded.value && html`<${Loading} what="agents" />`}
      ${loaded.value && !everyone.length && html`<${Nobody} />`}
      ${everyone.length > 0 && !found.length && html`
        <${Empty} title="No agent fits">Try another name, project, machine or tag.<//>
      `}
      <ul class="agents">${online.map((agent) => html`<${AgentRow} key=${agent.id} agent=${agent} />`)}</ul>
      ${offline.length > 0 && html`
        <h3 class="group-head">Offline</h3>
        <ul class="agents">
          ${offline.map((agent) => html`<${AgentRow} key=${agent.id} agent=${agent} />`)}
        </ul>
      `}
    </div>
  `;
}

const Nobody = () => html`
  <${Empty} title="Nobody is here yet">
    Start a session with <code>relay-agentd run claude</code> or <code>relay-agentd run codex</code>.
  <//>
`;

function fits(agent, query) {
  const words = query.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const text = [
    agent.id, agent.name, agent.label, agent.project, agent.machine, agent.provider,
    ...(agent.tags ?? []), ...(agent.capabilities ?? []),
  ].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function AgentRow({ agent }) {
  const current = route.value.view === "agent" && route.value.id === agent.id;
  const place = [agent.project, agent.machine].filter(Boolean).join(" · ");
  return html`
    <li class="agent" data-agent=${agent.id} data-status=${agent.status}>
      <a
        class="agent-link"
        href=${formatRoute({ view: "agent", id: agent.id })}
        aria-current=${current ? "true" : undefined}
      >
        <span class="agent-top">
          <span class="dot status-${agent.status}" aria-hidden="true"></span>
          <${Name} class="agent-name">${agentName(agent)}<//>
          ${agent.provider && html`<${Name} class="chip">${agent.provider}<//>`}
          ${agent.unread > 0 && html`
            <span class="count" title="Messages it has not read">
              ${agent.unread}<span class="hidden"> unread</span>
            </span>
          `}
        </span>
        <span class="agent-now">
          <span class="status-word status-word-${agent.status}">${STATUS_LABELS[agent.status] ?? agent.status}</span>
          ${agent.statusDetail && isOnline(agent) && html`<span aria-hidden="true"> · </span><${Name}>${agent.statusDetail}<//>`}
          ${!isOnline(agent) && agent.lastSeenAt && html`<span> · seen <${Ago} at=${agent.lastSeenAt} /></span>`}
        </span>
        <span class="agent-place">
          <${Name} class="agent-where">${place || agent.id}<//>
          ${isOnline(agent) && html`<${Reach} agent=${agent} />`}
        </span>
      </a>
    </li>
  `;
}

export const Reach = ({ agent }) =>
  agent.reachability && html`
    <span class="reach reach-${agent.reachability}" title=${REACH_LABELS[agent.reachability]}>
      <${Icon} name=${agent.reachability} />${agent.reachability}
    </span>
  `;
