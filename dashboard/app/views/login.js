/** Asks for the token when the relay wants one. */
import { useEffect, useRef, useState } from "../../vendor/preact-hooks.js";
import { login } from "../actions.js";
import { html } from "../html.js";

export function Login() {
  const [token, setToken] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);

  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await login(token);
    } catch (problem) {
      setError(problem.status === 401 ? "The relay does not accept this token." : problem.message);
      setBusy(false);
      field.current.select();
    }
  };

  return html`
    <main class="login">
      <form class="card login-card" onSubmit=${submit}>
        <img src="/icon.svg" alt="" width="40" height="40" />
        <h1>Agent Relay</h1>
        <p class="muted">This relay asks for its token. You find it where the relay was set up, as <code>AGENT_RELAY_TOKEN</code>.</p>
        <label for="token">Token</label>
        <input
          id="token"
          ref=${field}
          type="password"
          autocomplete="current-password"
          required
          value=${token}
          aria-invalid=${error !== null}
          aria-describedby="token-error"
          onInput=${(event) => setToken(event.target.value)}
        />
        <p id="token-error" class="tone-bad" role="alert">${error}</p>
        <button type="submit" class="button primary" disabled=${busy || !token}>
          ${busy ? "Checking…" : "Continue"}
        </button>
      </form>
    </main>
  `;
}
