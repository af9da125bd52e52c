// What an operator does: listen to a clip, explain a key, purge.

import { blob, post } from "./api.js";
import { element, id, numbers, t, table } from "./draw.js";
import { sounding } from "./sound.js";

// -- listen -------------------------------------------------------------------------------------------------------------

const player = new Audio();
let playing = null;

export function playButton({ key }) {
  const button = element("button", { type: "button", class: "play", "data-key": key });
  button.addEventListener("click", () => (playing === key ? stop() : play(key)));
  label(button);
  return button;
}

function label(button) {
  const { key } = button.dataset;
  const active = playing === key;
  button.replaceChildren(active ? "■" : "▶", element("span", {}, ` ${t(active ? "stop" : "play")}`));
  button.setAttribute("aria-label", t(active ? "stopClip" : "playClip", key.slice(0, 12)));
}

async function play(key) {
  sounding(stop);
  stop();
  playing = key;
  showPlaying();
  id("clip-error").textContent = "";
  try {
    const sound = await blob(`v1/cache/clips/${key}?format=wav`);
    if (playing !== key) return;
    player.src = URL.createObjectURL(sound);
    await player.play();
  } catch (error) {
    if (playing !== key) return;
    stop();
    id("clip-error").textContent = error.message;
  }
}

function stop() {
  player.pause();
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  playing = null;
  showPlaying();
}

function showPlaying() {
  for (const button of document.querySelectorAll("button.play")) label(button);
}

player.addEventListener("ended", stop);

// -- explain ------------------------------------------------------------------------------------------------------------

let explained = null;

id("explain-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  id("explain-error").textContent = "";
  try {
    const request = parsed("asked", t("request"));
    const other = id("other").value.trim() ? { other: parsed("other", t("other")) } : {};
    explained = await post("v1/cache/explain", { request, ...other });
    showExplained();
    id("explained").focus();
  } catch (error) {
    id("explain-error").textContent = error.message;
  }
});

function parsed(field, name) {
  try {
    return JSON.parse(id(field).value);
  } catch (error) {
    id(field).focus();
    throw new Error(t("notJson", name, error.message));
  }
}

export function showExplained() {
  if (explained === null) return;
  const { key, clip_key, format, stored, document: text, differences, nearest } = explained;
  const where = (tier) => (tier ? t("storedIn", tier) : t("notStored"));
  numbers("explained-keys", [
    [`${t("take")} · ${where(stored.take)}`, key],
    [`${t("clip", format)} · ${where(stored.clip)}`, clip_key],
  ]);
  id("differences-title").textContent = t(differences ? "differ" : "nearest");
  const value = (field) => (row) => (typeof row[field] === "string" ? row[field] : JSON.stringify(row[field]));
  const columns = [
    { title: t("field"), show: ({ field }) => field },
    { title: t("thisOne"), show: value("this") },
    { title: t("otherOne"), show: value("other") },
  ];
  table("differences", columns, differences ?? nearest ?? [], t(differences ? "same" : "noNearest"));
  id("document").textContent = JSON.stringify(text, null, 2);
  id("explained").hidden = false;
}

// -- purge --------------------------------------------------------------------------------------------------------------

// A clip's key, and the way from it to the form below.
export function keyButton({ key }) {
  const button = element("button", { type: "button", class: "key", title: key }, key.slice(0, 12));
  button.setAttribute("aria-label", t("purgeThis", key.slice(0, 12)));
  button.addEventListener("click", () => {
    id("purge-what").value = "key";
    showHint();
    id("purge-value").value = key;
    id("purge-value").focus();
  });
  return button;
}

const HINTS = { key: "hintKey", tag: "hintTag", all: "hintAll" };
const QUESTIONS = { key: "confirmKey", tag: "confirmTag", all: "confirmAll" };

export function showHint() {
  const what = id("purge-what").value;
  id("purge-hint").textContent = t(HINTS[what]);
  id("purge-value-label").hidden = what === "all";
  id("purge-value").required = what !== "all";
}

id("purge-what").addEventListener("change", () => {
  id("purge-value").value = "";
  showHint();
});

id("purge-form").addEventListener("submit", (event) => {
  event.preventDefault();
  id("purge-result").textContent = "";
  id("confirm-text").textContent = t(QUESTIONS[id("purge-what").value], id("purge-value").value.trim());
  id("confirm").showModal();
  id("confirm-no").focus();
});

id("confirm-no").addEventListener("click", () => id("confirm").close());

id("confirm-yes").addEventListener("click", async () => {
  id("confirm").close();
  const what = id("purge-what").value;
  const value = what === "all" ? true : id("purge-value").value.trim();
  id("purge-result").className = "";
  try {
    const { removed, obeyed } = await post("v1/cache/purge", { [what]: value });
    const done = obeyed === "this instance" ? t("obeyedHere") : removed === undefined ? t("obeyed") : removed ? t("removed", removed) : t("nothing");
    id("purge-result").textContent = t("purged", done);
  } catch (error) {
    id("purge-result").className = "error";
    id("purge-result").textContent = error.message;
  }
});
