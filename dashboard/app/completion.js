/** Targets to offer while somebody writes an address. Pure. */
import { agentName, byPresence, isOnline, plural } from "./format.js";

const LIMIT = 8;

/** @returns {{value: string, kind: string, detail: string}[]} best first */
export function suggestTargets(agents, text) {
  const wanted = text.trim().toLowerCase();
  const people = agents.filter((agent) => !agent.builtIn).sort(byPresence);
  const all = [
    ...people.map((agent) => ({
      value: agent.id,
      kind: "agent",
      name: agentName(agent),
      title: agentName(agent) === agent.id ? "" : agentName(agent),
      detail: [agent.status, agent.project, agent.machine].filter(Boolean).join(" · "),
    })),
    ...grouped(people, "label", (agent) => (agent.label ? [agent.label] : [])),
    ...grouped(people, "tag", (agent) => agent.tags ?? []),
    ...grouped(people, "cap", (agent) => agent.capabilities ?? []),
    { value: "broadcast", kind: "all", name: "broadcast", detail: count(people) },
  ];
  return all
    .map((target) => ({ target, score: score(target, wanted) }))
    .filter(({ score: points }) => points > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, LIMIT)
    .map(({ target }) => target);
}

function grouped(agents, kind, words) {
  const members = new Map();
  for (const agent of agents)
    for (const word of words(agent)) members.set(word, [...(members.get(word) ?? []), agent]);
  return [...members].map(([word, list]) => ({
    value: `${kind}:${word}`,
    kind,
    name: word,
    detail: count(list),
  }));
}

const count = (agents) =>
  `${plural(agents.length, "agent")}, ${agents.filter(isOnline).length} online`;

/** A name that starts with the text beats one that only contains it. */
function score({ value, name }, wanted) {
  if (!wanted) return 1;
  const texts = [value.toLowerCase(), name.toLowerCase()];
  if (texts.includes(wanted)) return 4;
  if (texts.some((text) => text.startsWith(wanted))) return 3;
  return texts.some((text) => text.includes(wanted)) ? 2 : 0;
}
