// Requests to the gateway, with the API key that this tab was given.

const KEY = "sayonce-key";
const PATIENCE_MS = 15_000;

export class Failed extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
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
    answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    throw new Failed(error.message);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  throw new Failed(body?.error?.message ?? `HTTP ${answer.status}`, answer.status);
}

export const get = async (path) => (await ask(path)).json();
export const blob = async (path) => (await ask(path)).blob();
export const post = async (path, body) =>
  (await ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();
