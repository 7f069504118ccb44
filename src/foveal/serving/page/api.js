// Requests to this server. The token comes in the fragment of the address, which browsers never send anywhere.

const KEY = "foveal-token";
const LONGEST_WAIT = 10;

function token() {
  const given = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (given) {
    sessionStorage.setItem(KEY, decodeURIComponent(given[1]));
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}
token();

export const hasToken = () => token() !== null;
export const setToken = (text) => sessionStorage.setItem(KEY, text);

/** An answer that is no success, with `status`, `code` and `hint`. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? "the server did not answer");
    this.status = status;
    this.code = problem.code ?? "no_answer";
    this.hint = problem.hint ?? "is it still running?";
  }
}

async function request(path, options = {}) {
  return (await respond(path, options)).json();
}

async function respond(path, options) {
  const headers = hasToken() ? { Authorization: `Bearer ${token()}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  } catch {
    throw new ApiError(0, {});
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const error = new ApiError(response.status, problem);
  error.retryAfter = Number(response.headers.get("Retry-After") ?? 0);
  throw error;
}

export const model = () => request("/v1/model");
export const run = () => request("/v1/run");
export const drift = () => request("/v1/drift");

/** The answer for one image; waits and asks again while the server is busy. */
export async function predict(file, { map = false, topk = 5 } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const body = new FormData();
    body.append("file", file, file.name);
    try {
      const answer = await request(`/v1/predict?topk=${topk}&map=${map}`, { method: "POST", body });
      return { ...answer.predictions[0], model: answer.model };
    } catch (error) {
      if (error.status !== 503 || attempt >= 20) throw error;
      const seconds = Math.min(error.retryAfter || 1, LONGEST_WAIT);
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * (0.75 + Math.random() / 2)));
    }
  }
}

export function correct(file, label) {
  const body = new FormData();
  body.append("file", file, file.name);
  body.append("label", label);
  return request("/v1/corrections", { method: "POST", body });
}

/** What `foveal label` shows: the group of a name, or the first one. */
export const labelling = (group) => request(group ? `/v1/label?group=${encodeURIComponent(group)}` : "/v1/label");
export const review = (label) => request(`/v1/label/review?label=${encodeURIComponent(label)}`);
export const act = (action) =>
  request("/v1/label/actions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(action),
  });
/** An image of the folder that is labelled, as a blob: an `<img>` could not send the token. */
export const image = async (number, { large = false } = {}) =>
  (await respond(`/v1/images/${number}${large ? "?large=1" : ""}`, {})).blob();
