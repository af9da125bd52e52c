// One sound at a time. A clip plays while it is made where the browser can do that, and else once it is whole.

let silence = null;

// Whoever begins to sound, and can be stopped by `stop`, ends what sounded before.
export function sounding(stop) {
  if (silence !== stop) silence?.();
  silence = stop;
}

const STREAMED = { mp3: "audio/mpeg", aac: "audio/aac" };
const feeds = (type) => "MediaSource" in window && MediaSource.isTypeSupported(type);

// Whether a format is heard while it comes; of the others the whole file is wanted, with its length in the header.
export const streams = (format) => format in STREAMED && feeds(STREAMED[format]);

// Plays the body of an answer, and returns it as a file once it is whole (`arrived` is called then), and why it could not be
// heard: "silent" for sound that the browser does not know, "blocked" where the user has to press play.
export async function hear(player, answer, signal, arrived) {
  signal.throwIfAborted();
  const type = answer.headers.get("content-type");
  const known = player.canPlayType(type) !== "";
  const feed = known && feeds(type) ? await feeder(player, type, signal) : null;
  const chunks = [];
  const reader = answer.body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    chunks.push(piece.value);
    await feed?.add(piece.value);
  }
  signal.throwIfAborted();
  arrived();
  feed?.end();
  const clip = new Blob(chunks, { type });
  if (!known) return { clip, unheard: "silent" };
  if (feed && !feed.failed) return { clip, unheard: await feed.begun };
  const heard = player.currentTime;
  load(player, clip);
  player.currentTime = heard;
  return { clip, unheard: await begin(player) };
}

// What is fed to a player piece by piece; after a piece that it cannot take, the whole has to do.
async function feeder(player, type, signal) {
  const source = new MediaSource();
  load(player, source);
  const begun = begin(player);
  await once(source, "sourceopen", signal);
  const buffer = source.addSourceBuffer(type);
  const feed = { begun, failed: false };
  const attempt = (step) => {
    if (feed.failed) return null;
    try {
      return step();
    } catch {
      feed.failed = true;
      return null;
    }
  };
  feed.add = (bytes) => attempt(() => {
    buffer.appendBuffer(bytes);
    return once(buffer, "updateend", signal);
  });
  feed.end = () => attempt(() => source.endOfStream());
  return feed;
}

function load(player, what) {
  unload(player);
  player.src = URL.createObjectURL(what);
}

export function unload(player) {
  player.pause();
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  player.load();
}

const begin = (player) => player.play().then(() => null, ({ name }) => ({ NotAllowedError: "blocked", NotSupportedError: "silent" })[name] ?? null);

function once(target, event, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    target.addEventListener(event, () => (signal.removeEventListener("abort", leave), resolve()), { once: true });
  });
}
