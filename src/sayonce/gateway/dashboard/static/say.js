// Say something: the form, and the way of a clip from there to the ear.

import { computed, key as apiKey, speak } from "./api.js";
import { chosen, forgetWritten, length, offer, request } from "./choices.js";
import { count, id, t } from "./draw.js";
import { clearErrors, goesOn, outcome, player, showErrors, showSaid, tell, voiceField } from "./said.js";
import { hear, sounding, streams, unload } from "./sound.js";

const REMEMBERED = 5;

let said = null; // what is being said, or was said last
let before = []; // what was heard whole, the newest first

// -- saying -------------------------------------------------------------------------------------------------------------

async function say(body) {
  stop();
  sounding(stop);
  unload(player);
  clearErrors();
  id("say-status").textContent = "";
  if (said === null) id("say-shell").open = false;
  const mine = { body, run: new AbortController(), asked: performance.now(), state: "asking" };
  said = mine;
  show();
  try {
    const answer = await speak(streams(body.response_format ?? "mp3") ? body : { ...body, stream: false }, mine.run.signal);
    Object.assign(mine, facts(answer.headers), { state: "speaking" });
    show();
    const { clip, unheard } = await hear(player, answer, mine.run.signal, () => arrived(mine));
    Object.assign(mine, { clip: URL.createObjectURL(clip), size: clip.size, unheard });
    if (unheard) end(mine, "done");
    mine.computed ??= await computed(mine.key).catch(() => null);
    show();
  } catch (error) {
    if (!mine.run.signal.aborted) fail(mine, error);
  }
}

// How it was answered, as the headers say it: RFC 9211 names each cache on the way.
function facts(headers) {
  const members = (headers.get("cache-status") ?? "").split(",").map((each) => each.trim());
  const status = members.find((each) => each.startsWith("sayonce")) ?? "";
  const tier = status.match(/; hit; detail=([^;]+)/)?.[1];
  const way = tier ? "hit" : status.includes("collapsed") ? "joined" : status.includes("stored") ? "kept" : "made";
  return { way, tier, key: headers.get("x-sayonce-key"), computed: headers.get("x-sayonce-compute-ms"), ignored: headers.get("x-sayonce-ignored") };
}

function arrived(mine) {
  mine.whole = performance.now() - mine.asked;
  for (const old of [mine, ...before].splice(REMEMBERED)) URL.revokeObjectURL(old.clip);
  before = [mine, ...before].slice(0, REMEMBERED);
}

function end(mine, state) {
  mine.state = state;
  show();
  if (mine === said) id("say-status").textContent = outcome(mine);
}

function stop() {
  player.pause();
  if (!goesOn(said)) return;
  said.run.abort();
  end(said, said.whole === undefined ? "stopped" : "done");
}

// A clip that broke off is not what was asked for: nothing of it is left to hear or to save.
function fail(mine, error) {
  const field = { input: id("say-text"), model: id("say-engine"), voice: voiceField(), response_format: id("say-format") }[error.param];
  mine.error = error;
  unload(player);
  end(mine, mine.state === "asking" ? "failed" : "broken");
  showErrors(mine);
  field?.focus();
}

player.addEventListener("playing", () => {
  if (said.state === "speaking") said.first ??= performance.now() - said.asked;
  sounding(stop);
  show();
});
player.addEventListener("durationchange", show);
player.addEventListener("ended", () => said.state === "speaking" && end(said, "done"));

id("say-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = request();
  const most = chosen().max_characters;
  if (body.input && length(body.input) <= most) say(body);
  else {
    clearErrors();
    tell("text", body.input ? t("textTooLong", count(most)) : t("textEmpty"));
    id("say-text").focus();
  }
});
id("say").addEventListener("keydown", ({ key, isComposing }) => key === "Escape" && !isComposing && stop());
id("say-form").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
  event.preventDefault();
  id("say-form").requestSubmit();
});
id("say-stop").addEventListener("click", stop);
id("say-again").addEventListener("click", () => say(said.body));
for (const event of ["input", "change"]) id("say-form").addEventListener(event, showForm);
id("say-shell").open = matchMedia("(min-width: 64rem)").matches; // where there is room for it beside the form

// -- showing ------------------------------------------------------------------------------------------------------------

export function showSay(figures, voices) {
  offer(figures.engines, voices);
  id("first").hidden = figures.requests.requests > 0 || figures.errors.length > 0;
  showForm();
}

// In another language.
export function retell() {
  clearErrors();
  if (said?.error) showErrors(said);
  show();
}

// What was written and said with one key is not for whoever has the next.
export function forgetSaid() {
  stop();
  unload(player);
  for (const each of before) URL.revokeObjectURL(each.clip);
  [said, before] = [null, []];
  clearErrors();
  forgetWritten();
  show();
}

function show() {
  showSaid(said, before);
}

function showForm() {
  const most = chosen().max_characters;
  const characters = length(id("say-text").value);
  id("say-count").textContent = t("characters", count(characters), count(most));
  id("say-count").className = characters > most ? "bad" : "note";
  id("say-command").textContent = command(request());
}

function command(body) {
  const address = new URL("v1/audio/speech", location.href).href;
  const bearer = apiKey.needed ? ' -H "Authorization: Bearer $API_KEY"' : "";
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl ${address}${bearer} -H "Content-Type: application/json" -d '${quoted}' -o hello.${body.response_format ?? "mp3"}`;
}
