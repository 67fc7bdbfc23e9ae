// Small helpers to make elements; text is always text, never markup.

export const $ = (selector, root = document) => root.querySelector(selector);

/**
 * An element. Properties that start with "on" are listeners, "class", "data-…", "aria-…" and
 * the like are attributes; `false` and `null` leave one out. Children are elements or text.
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replace what an element holds. */
export const fill = (element, ...children) => element.replaceChildren(...children.filter(Boolean));

/** Hand a file to the reader. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
