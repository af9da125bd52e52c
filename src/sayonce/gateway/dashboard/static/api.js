// Requests to the gateway, with the API key that this tab was given.

const KEY = "sayonce-key";
const PATIENCE_MS = 15_000;

export class Failed extends Error {
  constructor(message, status = 0, { param = null, after = null } = {}) {
    super(message);
    this.status = status;
    this.param = param; // the field of the request that is to change
    this.after = after; // the seconds after which to try again
  }

  get refused() {
    return this.status === 401 || this.status === 403;
  }
}

export const key = {
  needed: document.documentElement.dataset.keys === "needed",
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), ...options, headers });
  } catch (error) {
    throw new Failed(error.message);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  const why = { param: body?.error?.param, after: answer.headers.get("retry-after") };
  throw new Failed(body?.error?.message ?? `HTTP ${answer.status}`, answer.status, why);
}

const json = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export const get = async (path) => (await ask(path)).json();
export const blob = async (path) => (await ask(path)).blob();
export const post = async (path, body) => (await ask(path, json(body))).json();

// The answer as it comes: a synthesis may take long, so it is for the caller to end it.
export const speak = (body, signal) => ask("v1/audio/speech", { ...json(body), signal });

// What the synthesis of a clip that is stored took, in milliseconds; null where it is not.
export const computed = async (key) =>
  (await ask(`v1/cache/clips/${key}`, { method: "HEAD" })).headers.get("x-sayonce-compute-ms");
