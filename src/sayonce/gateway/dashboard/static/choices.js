// What can be said by whom: engines, voices and formats to choose from, as the server lists them.

import { element, id, spoken, t } from "./draw.js";

const CHINESE = /^(zh|cmn)\b/;
const FORMATS = ["mp3", "opus", "aac", "flac", "wav", "pcm", "mulaw"];

let engines = [];
let voices = [];
let written = false;

export function offer(offered, listed) {
  [engines, voices] = [offered, listed];
  offerEngines();
  fill("say-format", [["", FORMATS]]);
  offerVoices();
}

const named = (model) => engines.find((engine) => engine.name === model || engine.models.includes(model));
export const chosen = () => named(id("say-engine").value) ?? engines[0];

function offerEngines() {
  const others = engines.flatMap(({ models }) => models.map((name) => [name, `${name} → ${named(name).name}`]));
  fill("say-engine", [[others.length ? t("engines") : "", engines.map(({ name }) => name)], [t("otherNames"), others]]);
}

// An engine whose voices only its server knows is told a name; the others offer theirs.
function offerVoices() {
  const engine = chosen();
  const own = voices.filter(({ model, means }) => model === engine.name && !means);
  const others = voices.filter(({ model, means }) => model === engine.name && means).map(({ id: name, means }) => [name, `${name} → ${means}`]);
  const uploaded = engine.clones ? voices.filter(({ model }) => !model).map(({ name }) => name) : [];
  const fallback = [["", engine.default_voice ? t("defaultVoice", engine.default_voice) : "–"]];
  id("say-voice-label").hidden = own.length === 0;
  id("say-voice-name-label").hidden = own.length > 0;
  id("say-voice-name").placeholder = engine.default_voice ?? "";
  const fresh = fill("say-voice", [["", fallback], [t("uploaded"), uploaded], [t("voicesOf", engine.name), own.map(label)], [t("otherNames"), others]]);
  fill("say-voice-names", [["", uploaded]]);
  const chinese = own.find(({ language }) => CHINESE.test(language));
  if (!written && spoken() === "zh" && fresh && chinese) id("say-voice").value = chinese.id;
  const example = t(chinese || !own.length ? "example" : "exampleEnglish");
  if (!written && id("say-text").value !== example) id("say-text").value = example;
}

function label(voice) {
  const about = (spoken() === "zh" && languageName(voice.language)) || voice.name;
  return [voice.id, about && about !== voice.id ? `${voice.id} · ${about}` : voice.id];
}

// Of the language alone: what follows it in an engine's names is often not what BCP 47 means by it.
function languageName(tag) {
  const [language] = (tag ?? "").split("-");
  const names = new Intl.DisplayNames([spoken()], { type: "language", fallback: "none" });
  return /^[a-z]{2,3}$/.test(language) ? names.of(language) : undefined;
}

// Fills a list with groups of values, or of [value, label]; what was chosen stays chosen where it is still there.
function fill(name, groups) {
  const list = id(name);
  const shown = JSON.stringify(groups);
  if (list.shown === shown) return false;
  const before = list.value;
  list.shown = shown;
  const made = groups.filter(([, values]) => values.length).map(([title, values]) => {
    const options = values.map((each) => [each].flat()).map(([value, words = value]) => new Option(words, value));
    return title ? [element("optgroup", { label: title }, ...options)] : options;
  });
  list.replaceChildren(...made.flat());
  list.value = before;
  if (list.selectedIndex === -1) list.selectedIndex = 0;
  return true;
}

// The request that the form stands for; what is left to the server is left out.
export function request() {
  const [model, format] = [id("say-engine").value, id("say-format").value];
  const voice = (id("say-voice-label").hidden ? id("say-voice-name") : id("say-voice")).value.trim();
  return {
    ...(model && model !== engines[0]?.name ? { model } : {}),
    input: id("say-text").value.trim(),
    ...(voice ? { voice } : {}),
    ...(format && format !== FORMATS[0] ? { response_format: format } : {}),
  };
}

// Characters are counted as the server counts them.
export const length = (text) => [...text.trim().normalize()].length;

export function forgetWritten() {
  written = false;
  id("say-form").reset();
}

id("say-text").addEventListener("input", () => (written = true));
id("say-engine").addEventListener("change", offerVoices);
