// What is open, as the part of the address after #: RUN/UID, and what stands beside it after |.

/** Write the fragment; `beside` is "group", another trajectory, or nothing. */
export function fragmentOf(run, uid, beside) {
  const one = (name, id) =>
    `${encodeURIComponent(name)}/${encodeURIComponent(id).replaceAll("%2F", "/")}`;
  const more = beside === "group" ? "|group" : beside ? `|${one(beside.run, beside.uid)}` : "";
  return `#${one(run, uid)}${more}`;
}

/** Read a fragment back; null where nothing is open, or nobody wrote it so. */
export function parseFragment(hash) {
  const [first, second] = hash.slice(1).split("|");
  const open = parseOne(first);
  return open && { ...open, beside: second === "group" ? "group" : parseOne(second) };
}

function parseOne(text = "") {
  const cut = text.indexOf("/");
  if (cut < 0) return null;
  try {
    return {
      run: decodeURIComponent(text.slice(0, cut)),
      uid: decodeURIComponent(text.slice(cut + 1)),
    };
  } catch {
    return null; // a % that stands for nothing
  }
}
