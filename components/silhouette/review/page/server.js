// Asking the server: JSON there and back, and what went wrong as one line.

const PATIENCE_MS = 40_000;

export async function ask(address, body) {
  const options = { signal: AbortSignal.timeout(PATIENCE_MS) };
  if (body) {
    Object.assign(options, {
      method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-Silhouette-Review": "1" },
    });
  }
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("the server of this page does not answer; is `silhouette review` still running?");
  }
  const text = await answer.text();
  let content;
  try { content = JSON.parse(text); } catch { content = { error: text.replace(/^error: /, "") }; }
  if (!answer.ok) throw new Error(content.error || `the server answered ${answer.status}`);
  return content;
}
