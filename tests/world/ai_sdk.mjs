// Vercel's AI SDK; it reads a clip to its end before it returns it.
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_generateSpeech as generateSpeech } from "ai";
import { serve } from "./driver.mjs";

async function* whole(job, abortSignal) {
  const openai = createOpenAI({ baseURL: job.url, apiKey: job.key });
  const asked = { model: openai.speech("tts-1"), voice: "alloy", text: job.text, instructions: "Speak cheerfully." };
  const { audio } = await generateSpeech({ ...asked, abortSignal });
  yield audio.uint8Array;
}

await serve({ whole });
