// The dashboard: asks for the figures every two seconds, remembers those of the last minutes, and shows them.

import { get, key } from "./api.js";
import * as draw from "./draw.js";
import { forgetSaid, retell, showSay } from "./say.js";
import { keyButton, playButton, showExplained, showHint } from "./tools.js";

const { bytes, clock, count, element, id, money, numbers, percent, rate, seconds, t, table } = draw;

const POLL_MS = 2_000;
const VOICES_EVERY = 30;
const HISTORY = 300;
const WINDOW_SECONDS = 10;

const charts = Object.fromEntries(["hit-rate", "per-second", "memory", "store"].map((name) => [name, draw.makeChart(`chart-${name}`)]));
let history = [];
let latest = null;
let voices = [];
let polls = 0;
let timer;
let asking = false;
let paused = false;

// -- asking -------------------------------------------------------------------------------------------------------------

async function poll() {
  if (asking) return;
  clearTimeout(timer);
  asking = true;
  await refresh(key.get());
  asking = false;
  if (!paused && !document.hidden && id("door").hidden) timer = setTimeout(poll, POLL_MS);
}

async function refresh(given) {
  try {
    const figures = await get("v1/cache/overview");
    if (polls % VOICES_EVERY === 0) voices = (await get("v1/audio/voices")).data;
    if (given !== key.get()) return; // another key was given, or none, while this was asked
    polls += 1;
    remember(figures);
    show();
  } catch (error) {
    if (given !== key.get()) return;
    if (error.refused) lock(given ? t("refusedKey", error.message) : "");
    else {
      id("well").hidden = true;
      say(t("lost", error.message), "bad");
    }
  }
}

function remember(figures) {
  const { requests, hit = 0, stale = 0, joined = 0 } = figures.requests;
  // Another worker may know a little less than the one that answered before; a server that began anew knows next to nothing.
  if (requests < (history.at(-1)?.requests ?? 0) / 2) history = [];
  const [memory, store] = figures.tiers;
  history.push({ at: figures.now, requests, reused: hit + stale + joined, memory: memory.used_bytes, store: store?.used_bytes ?? null });
  history = history.slice(-HISTORY);
  latest = figures;
}

// This is read aloud, so it changes only when something happens.
function say(text, style = "") {
  if (id("state").textContent !== text) id("state").textContent = text;
  id("state").className = style;
}

// -- the door -----------------------------------------------------------------------------------------------------------

function lock(why = "") {
  clearTimeout(timer);
  key.forget();
  [history, latest] = [[], null];
  forgetSaid();
  id("counts").textContent = "";
  say("");
  document.title = "Sayonce";
  id("well").hidden = true;
  id("figures").hidden = true;
  id("door").hidden = false;
  id("forget").hidden = true;
  id("pause").hidden = true;
  id("key-error").textContent = why;
  id("key").value = "";
  id("key").focus();
}

function unlock() {
  id("door").hidden = true;
  id("pause").hidden = false;
  id("forget").hidden = !key.needed;
  polls = 0;
  say(t("connecting"));
  poll();
}

id("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(id("key").value.trim());
  unlock();
});
id("forget").addEventListener("click", () => lock());

// -- showing ------------------------------------------------------------------------------------------------------------

function show() {
  if (latest === null) return;
  id("figures").hidden = false;
  id("version").textContent = latest.version;
  id("counts").textContent = t("live", count(latest.workers), count(latest.requests.requests));
  showTrouble(latest);
  showSay(latest, voices);
  showCharts(latest);
  showSavings(latest.savings);
  showStore(latest);
  showEngines(latest.engines);
  showRequests(latest);
  showVoices();
}

// What is said of a store in each of its states.
const STORE = {
  none: ["storeNone", "note"], ok: ["storeOk", "good"], incomplete: ["storeIncomplete", "warn"],
  unwritable: ["storeUnwritable", "warn"], failing: ["storeFailing", "bad"],
};

function showTrouble({ store, engines }) {
  const named = (...states) => engines.filter(({ state }) => states.includes(state)).map(({ name }) => name).join(", ");
  const troubles = [
    [store.state === "failing", t("storeTrouble"), "bad"],
    [["unwritable", "incomplete"].includes(store.state), t(STORE[store.state]?.[0]), "warn"],
    [named("failed", "down"), t("engineFailed", named("failed", "down")), "bad"],
    [named("loading"), t("engineLoading", named("loading")), "warn"],
  ].filter(([there]) => there);
  id("well").hidden = paused || troubles.length > 0;
  document.title = troubles.length ? `⚠ ${troubles[0][1]} · Sayonce` : "Sayonce";
  if (paused) say(t("stopped"), "note");
  else say(troubles.map(([, text]) => text).join(" · "), troubles[0]?.[2]);
}

// What was counted between a sample and the last one that is a window older, or the first.
function over(place) {
  const now = history[place];
  const before = history.slice(0, place).findLast(({ at }) => now.at - at >= WINDOW_SECONDS) ?? history[0];
  const since = (name) => Math.max(0, now[name] - before[name]);
  return { requests: since("requests"), reused: Math.min(since("reused"), since("requests")), seconds: now.at - before.at };
}

function showCharts({ requests, tiers: [memory, store] }) {
  const spans = history.map(({ at }, place) => ({ at, ...over(place) }));
  const share = ({ requests: all, reused }) => (all > 0 ? reused / all : null);
  draw.drawChart(charts["hit-rate"], {
    title: t("hitRate"), note: t("hitRateNote", percent(requests.hit_rate)), format: (value) => (value === null ? t("idle") : percent(value)), top: 1,
    points: spans.map((span) => ({ at: span.at, value: share(span) })),
  });
  draw.drawChart(charts["per-second"], {
    title: t("perSecond"), note: t("perSecondNote", count(requests.led ?? 0), count(requests.joined ?? 0)), format: rate,
    points: spans.map((span) => ({ at: span.at, value: span.seconds > 0 ? span.requests / span.seconds : 0 })),
  });
  const held = (tier) => (tier.max_bytes ? t("bound", bytes(tier.max_bytes), count(tier.entries)) : t("unbounded", count(tier.entries)));
  const points = (name) => history.map((sample) => ({ at: sample.at, value: sample[name] }));
  draw.drawChart(charts.memory, { title: t("memory"), note: held(memory), format: bytes, points: points("memory") });
  const note = store ? (store.used_bytes === null ? t("unknown") : held(store)) : t("noStore");
  draw.drawChart(charts.store, { title: store ? `${t("store")}: ${store.name}` : t("store"), note, format: bytes, points: points("store") });
}

function showSavings(savings) {
  const priced = savings.cost > 0 || savings.saved_cost > 0;
  const pairs = [["savedSeconds", savings.saved_seconds, seconds], ["computeSeconds", savings.compute_seconds, seconds]];
  if (priced) pairs.push(["savedCost", savings.saved_cost, money], ["cost", savings.cost, money]);
  pairs.push(["savedBytes", savings.saved_bytes, bytes], ["sentBytes", savings.sent_bytes, bytes]);
  numbers("savings", pairs.map(([name, value, format]) => [t(name), format(value)]));
  const all = savings.saved_seconds + savings.compute_seconds;
  const part = all > 0 ? savings.saved_seconds / all : 0;
  draw.share("share", part, t("share", percent(part)));
  id("share").hidden = all === 0;
}

function showStore({ store, tiers }) {
  const [text, style] = STORE[store.state];
  id("store-state").textContent = t(text);
  id("store-state").className = style;
  table("tiers", [
    { title: t("tier"), show: ({ name }) => name },
    { title: t("entries"), n: true, show: (tier) => count(tier.entries) },
    { title: t("used"), n: true, show: (tier) => bytes(tier.used_bytes) },
    { title: t("limit"), n: true, show: (tier) => bytes(tier.max_bytes || null) },
  ], tiers);
  const facts = store.trouble ? [store.trouble] : [];
  if (store.name) facts.push(t("operations", count(store.operations), count(store.skipped)));
  if (store.errors.length) facts.push(t("storeErrors", store.errors.map(({ part, kind, calls }) => `${part} ${kind} ${count(calls)}`).join(", ")));
  if (store.refused.length) facts.push(t("refusedValues", store.refused.map(({ reason, values }) => `${reason} ${count(values)}`).join(", ")));
  if (store.sweeps?.last) facts.push(t("sweeps", count(store.sweeps.removed), bytes(store.sweeps.removed_bytes), clock(store.sweeps.last)));
  id("store-facts").replaceChildren(...facts.map((fact) => element("li", {}, fact)));
}

function showEngines(engines) {
  table("engines", [
    { title: t("engine"), show: ({ name }) => name },
    { title: t("engineState"), show: engineState, style: (engine) => ({ ready: serversUp(engine) < engine.upstreams.length ? "warn" : "good", loading: "warn" })[engine.state] ?? "bad" },
    { title: t("speaking"), n: true, minor: true, show: (engine) => count(engine.speaking) },
    { title: t("waiting"), n: true, show: (engine) => `${count(engine.waiting)} / ${count(engine.queue_limit)}`, style: ({ waiting }) => (waiting ? "warn" : "") },
    { title: t("calls"), n: true, show: (engine) => count(engine.calls) },
    { title: t("failures"), n: true, show: (engine) => count(engine.failures), style: ({ failures }) => (failures ? "bad" : "") },
  ], engines);
}

const serversUp = ({ upstreams }) => upstreams.filter(({ up }) => up > 0).length;
const engineState = (engine) => {
  const { state, upstreams } = engine;
  return upstreams.length > 1 ? `${t(state)} (${t("servers", serversUp(engine), upstreams.length)})` : t(state);
};

// Nothing is wrong where a request asked for what is stored alone, and nothing was.
const mood = ({ outcome, reason }) => (reason === "not_cached" ? "" : { hit: "good", stale: "warn", joined: "good", failed: "bad", refused: "warn" }[outcome]);

function showRequests({ latency, texts, clips, latest: requests, errors }) {
  table("latency", [
    { title: t("outcome"), show: ({ outcome, tier }) => (tier ? `${outcome} · ${tier}` : outcome) },
    { title: t("requests"), n: true, show: (row) => count(row.requests) },
    { title: t("p50"), n: true, show: (row) => seconds(row.p50_seconds) },
    { title: t("p99"), n: true, show: (row) => seconds(row.p99_seconds) },
  ], latency);
  id("clips-note").textContent = t(texts ? "ofProcess" : "textsOff");
  const said = ({ text }) => (texts ? [element("span", { class: "said", dir: "auto" }, text ?? "…")] : []);
  table("clips", [
    { title: t(texts ? "text" : "keyColumn"), show: (clip) => element("div", {}, ...said(clip), keyButton(clip)) },
    { title: t("listen"), show: (clip) => (clip.gone ? t("gone") : playButton(clip)) },
    ...(texts ? [] : [{ title: t("engine"), minor: true, show: ({ engine }) => engine }]),
    { title: t("voice"), minor: texts, show: ({ voice }) => voice },
    { title: t("length"), n: true, minor: true, show: (clip) => seconds(clip.seconds) },
    { title: t("hits"), n: true, show: ({ hits }) => count(hits) },
    { title: t("saved"), n: true, show: (clip) => seconds(clip.hits * clip.saved_seconds) },
  ], clips);
  table("latest", [
    { title: t("time"), show: ({ at }) => clock(at) },
    { title: t("outcome"), show: ({ outcome, tier }) => (tier ? `${outcome} · ${tier}` : outcome), style: mood },
    { title: t("reason"), show: ({ reason }) => reason ?? "" },
    { title: t("engine"), minor: true, show: ({ engine }) => engine },
    { title: t("voice"), show: ({ voice }) => voice },
    { title: t("took"), n: true, show: (row) => seconds(row.seconds) },
  ], requests);
  table("errors", [
    { title: t("outcome"), show: ({ outcome }) => outcome, style: mood },
    { title: t("reason"), show: ({ reason }) => reason },
    { title: t("requests"), n: true, show: (row) => count(row.requests) },
  ], errors, t("noErrors"));
}

function showVoices() {
  const optional = (field, title) => (voices.some((voice) => voice[field]) ? [{ title, show: (voice) => voice[field] ?? "" }] : []);
  table("voices", [
    { title: t("voice"), show: ({ id: voice, model, name }) => (model ? voice : name) },
    { title: t("model"), show: ({ model }) => model ?? t("ownVoice") },
    ...optional("language", t("spoken")),
    ...optional("name", t("name")),
  ], voices.filter(({ means }) => !means));
}

// -- the page -----------------------------------------------------------------------------------------------------------

function redraw() {
  id("language").value = draw.spoken();
  id("pause").textContent = t(paused ? "resume" : "pause");
  showHint();
  showExplained();
  retell();
  show();
}

id("language").addEventListener("change", ({ target }) => {
  draw.speak(target.value, true);
  redraw();
});

id("pause").addEventListener("click", ({ target }) => {
  paused = !paused;
  redraw();
  if (paused) clearTimeout(timer);
  else poll();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused && id("door").hidden) poll();
});

draw.speak(draw.spoken());
redraw();
if (key.needed && !key.get()) lock();
else unlock();
