// OpenAI's SDK for JavaScript.
import OpenAI from "openai";
import { serve } from "./driver.mjs";

const client = (job) => new OpenAI({ baseURL: job.url, apiKey: job.key });

async function* whole(job, signal) {
  const asked = { model: "tts-1", voice: "alloy", input: job.text };
  const clip = await client(job).audio.speech.create(asked, { signal });
  yield Buffer.from(await clip.arrayBuffer());
}

async function* stream(job, signal) {
  const asked = { model: "gpt-4o-mini-tts", voice: "coral", input: job.text, instructions: "Speak cheerfully." };
  const clip = await client(job).audio.speech.create(asked, { signal });
  yield* clip.body;
}

await serve({ whole, stream });
