/**
 * The relay's HTTP API, one function a call. Owns no state; knows paths and the error envelope.
 * The token travels in the cookie that `login` sets, so no script ever holds it.
 */

export class ApiError extends Error {
  /** @param {number} status 0 when no answer came. @param {object} problem RFC 9457 object. */
  constructor(status, problem) {
    super(problem.detail || problem.title || `The relay answered ${status}.`);
    this.status = status;
    this.code = problem.code || "";
    this.problem = problem;
  }
}

export function apiPath(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Turn any failed answer into an ApiError; proxies and dying servers do not always send JSON. */
export async function errorFrom(response) {
  const problem = await response.json().catch(() => ({}));
  return new ApiError(response.status, problem && typeof problem === "object" ? problem : {});
}

async function call(method, path, { query, body, headers = {}, signal } = {}) {
  const init = { method, headers: { Accept: "application/json", ...headers }, signal };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(apiPath(path, query), init);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(0, { detail: "The relay cannot be reached.", code: "unreachable" });
  }
  if (!response.ok) throw await errorFrom(response);
  return response.status === 204 ? null : response.json();
}

const one = (id) => `/api/messages/${encodeURIComponent(id)}`;

export const login = (token) => call("POST", "/api/login", { body: { token } });
export const logout = () => call("POST", "/api/logout");
export const listAgents = () => call("GET", "/api/agents");
export const listMessages = (query) => call("GET", "/api/messages", { query });
export const getMessage = (id) => call("GET", one(id));
export const getThread = (id) => call("GET", `${one(id)}/thread`);
export const claimMessage = (id, agentId) =>
  call("POST", `${one(id)}/claim`, { body: { agentId } });
export const releaseMessage = (id, agentId) =>
  call("POST", `${one(id)}/release`, { body: { agentId } });
export const completeMessage = (id, agentId) =>
  call("POST", `${one(id)}/complete`, { body: { agentId } });
export const readMessage = (id, agentId) => call("POST", `${one(id)}/read`, { body: { agentId } });
export const previewRoute = (to, signal) => call("GET", "/api/route", { query: { to }, signal });
export const sendMessage = (message, idempotencyKey) =>
  call("POST", "/api/messages", {
    body: message,
    headers: { "Idempotency-Key": idempotencyKey },
  });
