// Calls of the public API. What this page can do, any client can do.

import { $ } from "./dom.js";
import { t } from "./i18n.js";

const STORED = "api-key"; // sessionStorage: gone with the tab
let asking = null;
let declined = false; // the reader gave no key: only their own actions open the dialog again

/** A problem document of the API (RFC 9457). `errors` are {field, detail}. */
export class Problem extends Error {
  constructor(status, document, retryAfter = null) {
    super(document.detail || document.title || String(status));
    this.status = status;
    this.errors = document.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** The text to show, in the reader's language where the API sent a number rather than a text. */
  get words() {
    if (this.status === 0) return t("problem_network");
    if (this.retryAfter) return `${this.message} – ${t("problem_busy", { seconds: this.retryAfter })}`;
    return this.message;
  }
}

/** Call the API. Returns the answer's JSON; throws Problem. Statuses in `accept` are answers too. */
export async function call(path, body = undefined, accept = []) {
  const response = await send(path, body);
  if (!response.ok && !accept.includes(response.status)) {
    const document = await response.json().catch(() => ({}));
    throw new Problem(response.status, document, response.headers.get("Retry-After"));
  }
  return response.json();
}

/** Fetch a file. Returns a Blob; throws Problem. */
export async function file(path) {
  const response = await send(path);
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return response.blob();
}

async function send(path, body) {
  const key = sessionStorage.getItem(STORED);
  const headers = key ? { "X-API-Key": key } : {};
  const options = { headers };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem(0, {});
  }
  if (response.status === 401) {
    if (declined && body === undefined) return response;
    // Another call may have been given a key meanwhile.
    if (sessionStorage.getItem(STORED) === key) {
      sessionStorage.removeItem(STORED);
      asking ??= ask(key !== null).finally(() => (asking = null));
      if (!(await asking)) return response;
    }
    return send(path, body);
  }
  return response;
}

/** Ask the reader for a key. Returns whether one was entered. */
function ask(refused) {
  const dialog = $("#key-dialog");
  const field = $("#key-field");
  $("#key-wrong").hidden = !refused;
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const given = dialog.returnValue === "use" && field.value.trim();
        if (given) sessionStorage.setItem(STORED, given);
        declined = !given;
        $("#key-again").hidden = !declined;
        field.value = "";
        resolve(Boolean(given));
      },
      { once: true },
    );
  });
}
