// What the drivers have in common: each reads a job a line, has its client do it, and prints what came of it as JSON.
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

export async function serve(ways) {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = await hear(ways, JSON.parse(line));
    } catch (error) {
      answer = { error: `${error.name}: ${error.message}` };
    }
    console.log(JSON.stringify(answer));
  }
}

// Hear one clip, or leave after `leave_after` seconds, by a signal as a page does that no longer listens.
async function hear(ways, job) {
  const signal = job.leave_after ? AbortSignal.timeout(job.leave_after * 1000) : undefined;
  const heard = [];
  let first = null;
  const begun = performance.now();
  try {
    for await (const sound of ways[job.do](job, signal)) {
      first ??= performance.now();
      heard.push(sound);
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
  const ended = performance.now();
  writeFileSync(job.file, Buffer.concat(heard));
  return { first_ms: first && Math.round(first - begun), all_ms: Math.round(ended - begun) };
}
