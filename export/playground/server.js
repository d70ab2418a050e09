// Backend of `charlm serve`: OpenAI's completions, streamed by the host that serves this page.

const LIKELY = 5;
const PIECE = 10_000; // of a text to be scored: a large one would fill a request, and a server
const ENDED = "The server ended the text early: is charlm serve still running?";

export async function open(config, key) {
  const server = new Server(key);
  const listed = await (await server.ask("v1/models")).json();
  server.models = listed.data.map((model) => model.id);
  return server;
}

class Server {
  about = "served by charlm serve";

  constructor(key) {
    this.key = key;
  }

  /** Yields what each sample has drawn; see app.js. */
  async *generate(request, signal) {
    const body = {
      model: request.model,
      prompt: request.prompt,
      max_tokens: request.length,
      temperature: request.temperature,
      top_p: request.topP,
      top_k: request.topK,
      min_p: request.minP,
      n: request.samples,
      logprobs: LIKELY,
      stream: true,
      return_state: true,
      ...(request.stop.length && { stop: request.stop }),
      ...(request.state && { state: request.state }),
    };
    const answer = await this.ask("v1/completions", body, signal, request.seed);
    for await (const chunk of eventsOf(answer.body)) {
      if (chunk.error) throw new Error(sentence(chunk.error.message));
      for (const choice of chunk.choices ?? []) {
        yield {
          sample: choice.index,
          characters: charactersOf(choice.logprobs),
          finish: choice.finish_reason,
          state: choice.state,
        };
      }
    }
  }

  /** Yields lists of characters of a text with what they cost. */
  async *score({ model, text }, signal) {
    const body = { model, max_tokens: 0, echo: true, logprobs: LIKELY, return_state: true };
    for (let from = 0, to; from === 0 || from < text.length; from = to) {
      to = from + PIECE;
      const space = text.lastIndexOf(" ", to);
      if (to < text.length && space > from) to = space; // an accent stays with its letter
      else if (text.codePointAt(to - 1) > 0xffff) to++; // not within a character
      body.prompt = text.slice(from, to);
      const answer = await this.ask("v1/completions", body, signal);
      const [choice] = (await answer.json()).choices;
      body.state = choice.state;
      yield charactersOf(choice.logprobs);
    }
  }

  /** The answer; errors in the server's own words. `seed` is a BigInt, which JSON can't write. */
  async ask(path, body, signal, seed) {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const options = { headers, signal };
    if (body) {
      const text = JSON.stringify(body);
      options.method = "POST";
      options.body = seed == null ? text : `${text.slice(0, -1)},"seed":${seed}}`;
      headers["Content-Type"] = "application/json";
    }
    let answer;
    try {
      answer = await fetch(new URL(path, document.baseURI), options);
    } catch (problem) {
      if (signal?.aborted) throw problem;
      throw new Error("The server does not answer: is charlm serve still running?");
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => null);
    const wait = answer.headers.get("Retry-After");
    const problem = new Error(
      sentence(said?.error?.message ?? `the server answers ${answer.status}`) +
        (answer.status === 429 && wait ? ` Try again in ${wait} s.` : ""),
    );
    problem.status = answer.status;
    throw problem;
  }
}

function sentence(message) {
  const line = message.split("\n")[0].trim();
  return line.charAt(0).toUpperCase() + line.slice(1) + (/[.!?]$/.test(line) ? "" : ".");
}

/** OpenAI's log-probabilities as the page's characters. */
function charactersOf(logprobs) {
  return (logprobs?.tokens ?? []).map((text, n) => {
    const own = logprobs.token_logprobs[n];
    const top = Object.entries(logprobs.top_logprobs?.[n] ?? {});
    const likely = top
      .map(([character, value]) => [character, Math.exp(value)])
      .sort((a, b) => b[1] - a[1])
      .slice(0, LIKELY);
    return own === null ? { text } : { text, bits: -own / Math.LN2, likely };
  });
}

/** The JSON of each server-sent event, to the one that says [DONE]. */
async function* eventsOf(stream) {
  let left = "";
  for await (const piece of pieces(stream.pipeThrough(new TextDecoderStream()))) {
    const events = (left + piece).split(/\r?\n\r?\n/);
    left = events.pop();
    for (const event of events) {
      const data = event.match(/^data: ?(.*)$/m)?.[1];
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
  throw new Error(ENDED);
}

async function* pieces(stream) {
  const reader = stream.getReader(); // Safari's streams are not iterable
  try {
    for (let read; !(read = await reader.read()).done;) yield read.value;
  } catch (problem) {
    throw problem.name === "AbortError" ? problem : new Error(ENDED);
  } finally {
    reader.cancel().catch(() => {});
  }
}
