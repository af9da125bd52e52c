// How something was answered: outcome, latency, cost, key, and what went wrong, at the field that has to change.

import { bytes, count, element, id, numbers, seconds, t, table } from "./draw.js";

const AT_LEAST_SOONER_MS = 5;
const PLACES = ["text", "engine", "voice", "format", "form"];
const LOOKS = { hit: "good", joined: "good", kept: "", made: "" };

export const player = id("said-player");
export const goesOn = (one) => ["asking", "speaking"].includes(one?.state);
export const voiceField = () => id(id("say-voice-label").hidden ? "say-voice-name" : "say-voice");

export function showSaid(said, before) {
  const speaking = goesOn(said);
  if (!speaking && document.activeElement === id("say-stop")) id("say-button").focus();
  id("say-stop").hidden = !speaking;
  id("say-intro").hidden = said !== null;
  id("said").hidden = said === null;
  showBefore(before);
  if (said === null) return;
  id("said-outcome").textContent = outcome(said);
  id("said-outcome").className = `pill ${said.error ? "bad" : (LOOKS[said.way] ?? "soft")}`;
  showFigures(said);
  id("said-note").textContent = notes(said, before).join(" ");
  showClip(said);
}

export function outcome({ state, way, tier, whole }) {
  if (state === "asking") return t("asking");
  if (["stopped", "failed", "broken"].includes(state)) return t({ stopped: "saidStopped", failed: "saidFailed", broken: "saidBroken" }[state]);
  if (way === "hit") return t("saidHit", tier === "memory" ? t("inMemory") : tier);
  if (way === "joined") return t("saidJoined");
  if (whole === undefined) return t("saidNow");
  return t(way === "kept" ? "saidKept" : "saidMade");
}

const elapsed = (ms) => seconds(ms === undefined ? null : ms / 1000);

function showFigures(said) {
  id("said-facts").hidden = said.way === undefined;
  const duration = Number.isFinite(player.duration) ? player.duration : null;
  numbers("said-figures", [
    [t("firstSound"), elapsed(said.first)],
    [t("wholeClip"), elapsed(said.whole)],
    [t(["hit", "joined"].includes(said.way) ? "savedSeconds" : "computeSeconds"), elapsed(said.computed ?? undefined)],
    [t("length"), seconds(said.whole === undefined ? null : duration)],
  ]);
  id("said-key").textContent = said.key ?? "";
}

function notes(said, before) {
  const made = before.find((one) => one !== said && one.key === said.key && one.way !== "hit");
  const sooner = said.way === "hit" && made ? made.first - said.first : 0;
  return [
    sooner >= AT_LEAST_SOONER_MS ? t("sooner", elapsed(sooner)) : "",
    said.ignored ? t("ignored", said.ignored) : "",
    { silent: t("notPlayable"), blocked: t("pressPlay") }[said.unheard] ?? "",
  ].filter(Boolean);
}

function showClip({ state, way, whole, clip, size, unheard, key, body }) {
  id("said-clip").hidden = way === undefined || ["broken", "stopped"].includes(state);
  player.hidden = unheard === "silent";
  id("say-again").hidden = whole === undefined;
  id("said-save").hidden = clip === undefined;
  if (clip === undefined) return;
  id("said-save").textContent = t("save", bytes(size));
  id("said-save").href = clip;
  id("said-save").download = `sayonce-${key.slice(0, 12)}.${body.response_format ?? "mp3"}`;
}

function showBefore(before) {
  id("said-before-part").hidden = before.length < 2;
  const rows = before.map((one) => ({ said: one.body.input, words: outcome(one), look: LOOKS[one.way], first: one.first, whole: one.whole }));
  table("said-before", [
    { title: t("outcome"), show: ({ words }) => words, style: ({ look }) => look },
    { title: t("text"), minor: true, show: ({ said }) => element("bdi", {}, said), style: () => "line" },
    { title: t("firstSound"), n: true, show: ({ first }) => elapsed(first) },
    { title: t("wholeClip"), n: true, show: ({ whole }) => elapsed(whole) },
  ], rows);
}

// -- errors -------------------------------------------------------------------------------------------------------------

const BY_STATUS = { 0: "lostSay", 413: "wrongText", 429: "tooMany", 502: "engineBroke", 504: "tooSlow" };
const BY_FIELD = { input: ["text", "wrongText"], model: ["engine", "wrongEngine"], voice: ["voice", "wrongVoice"], response_format: ["format", "wrongFormat"] };

// In plain words, at the field that has to change; then what the server says, which is English.
export function showErrors({ state, error }) {
  const [place, words] = BY_FIELD[error.param] ?? ["form", "notSaid"];
  if (state === "broken") tell("form", t("brokenOff"));
  else if (error.status === 503) tell("form", error.after ? t("busy", count(Number(error.after))) : t("cannotSay"), error.message);
  else if (BY_STATUS[error.status]) tell("form", t(BY_STATUS[error.status]), error.message);
  else tell(place, t(words), error.message);
}

export function tell(place, words, detail = "") {
  const parts = detail ? [words, " ", element("span", { class: "note", lang: "en" }, detail)] : [words];
  id(`say-${place}-error`).replaceChildren(...parts);
  for (const field of document.querySelectorAll(`[aria-describedby~="say-${place}-error"]`)) {
    if (words) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
}

export function clearErrors() {
  for (const place of PLACES) tell(place, "");
}
