// Elements and text. What models and passages wrote becomes text nodes here and nothing else.

// Characters that are not seen, or that turn the text around them: shown by their number.
const UNSEEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b\\u200e\\u200f" +
    "\\u2028-\\u202e\\u2060-\\u2069\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}\\p{Cs}]",
  "gu",
);
const FOLDED = 4000; // characters of one text that are shown at first
const UNFOLDED = 50_000; // further ones a click: a browser lays out a megabyte for minutes

/** Make an element; a string among the children becomes text, whatever it holds. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child == null || child === false) continue;
    if (child instanceof Node) node.append(child);
    else addText(node, String(child));
  }
  return node;
}

/** Append text with every unseen character as a small mark. */
export function addText(node, text) {
  let from = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > from) node.append(text.slice(from, match.index));
    const number = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    const mark = document.createElement("span");
    mark.className = "control";
    mark.textContent = `U+${number}`;
    node.append(mark);
    from = match.index + match[0].length;
  }
  if (from < text.length) node.append(text.slice(from));
}

/** Append a text of any length; a long one is folded, with a button that shows more of it. */
export function addLongText(node, text, from = 0) {
  const to = from + (from ? UNFOLDED : FOLDED);
  addText(node, text.slice(from, to));
  if (text.length <= to) return;
  const rest = (text.length - to).toLocaleString("en");
  const more = el("button", { class: "fold" }, `show more (${rest} characters left)`);
  more.addEventListener("click", () => {
    more.remove();
    addLongText(node, text, to);
  });
  node.append(more);
}

/** Ask the API; an answer that is no success becomes an error with what the server said. */
export async function getJson(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(
    Object.entries(parameters).filter(([, value]) => value !== "" && value != null),
  );
  const response = await fetch(`${path}?${query}`, { signal });
  if (!response.ok) throw new Error(await reasonOf(response));
  return response.json();
}

/** Give what the server says of a request that failed. */
export async function reasonOf(response) {
  const body = await response.json().catch(() => ({}));
  return typeof body.detail === "string" ? body.detail : `the server answers ${response.status}`;
}

/** Write seconds for reading. */
export function seconds(value) {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return `${value < 100 ? value.toFixed(1) : Math.round(value)} s`;
}

/** Write a count with its word. */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
