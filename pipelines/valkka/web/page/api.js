/** Requests to the orchestrator, and their errors in its own words. */

/** Sends JSON, or nothing; what comes back is JSON, or null. Throws an Error with the server's message. */
export async function send(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("Valkka does not answer.");
  }
  if (response.ok) return response.status === 204 || response.status === 202 ? null : response.json();
  if (response.status === 401 && path !== "/api/login") askForToken();
  throw new Error(await reason(response));
}

async function reason(response) {
  try {
    const { error } = await response.json();
    return sentence(error.message);
  } catch {
    return `The server answers ${response.status} ${response.statusText}.`;
  }
}

function sentence(text) {
  // An address or a name stays as it is written.
  const begun = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A path with names in it, which may hold anything. */
export function path(strings, ...names) {
  return String.raw({ raw: strings }, ...names.map(encodeURIComponent));
}

/** The lines of an answer that goes on, each as JSON, until `signal` aborts. */
export async function* lines(address, signal) {
  const response = await fetch(address, { signal });
  if (response.status === 401) askForToken();
  if (!response.ok) throw new Error(await reason(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part !== "") yield JSON.parse(part);
  }
}

/** Shows the dialog that wants the token, perhaps with what was wrong; loads the page anew when it was right. */
export function askForToken(wrong = "") {
  const dialog = document.querySelector("#login");
  if (dialog.open) return;
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  problem.textContent = wrong;
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await send("POST", "/api/login", { token: form.elements.token.value });
      location.reload();
    } catch (error) {
      problem.textContent = error.message;
      form.elements.token.select();
    }
  };
  document.querySelector(".summary").textContent = "waiting for the token";
  // There is nothing behind it to go back to.
  dialog.oncancel = (event) => event.preventDefault();
  dialog.showModal();
}

/** A link may bring the token along (`/?token=...`): it becomes a cookie, and leaves the address. */
export async function takeTokenFromAddress() {
  const address = new URL(location.href);
  const token = address.searchParams.get("token");
  if (token === null) return;
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
  await send("POST", "/api/login", { token }).catch((error) => askForToken(error.message));
}
