// What is shown stands in the address: `#/SUITE?TABLE.sort=-auroc&TABLE.f.network=mlp&cell=ID`. A copied address opens
// the same view, and the back button works.

/** The address as suite and parameters; null for addresses within the page that are none of ours. */
function readRoute() {
  const hash = location.hash;
  if (hash && !hash.startsWith("#/")) return null;
  const [path, query = ""] = hash.slice(2).split("?", 2);
  let suite = "";
  try {
    suite = decodeURIComponent(path);
  } catch {
    // An address that was cut off shows the overview.
  }
  return { suite, params: new URLSearchParams(query) };
}

function writeRoute(suite, params) {
  const query = params.toString();
  const hash = `#/${encodeURIComponent(suite)}${query ? `?${query}` : ""}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

/** The parameters of one table, without its name in front. */
function paramsOf(params, id) {
  const mine = new URLSearchParams();
  for (const [name, value] of params) if (name.startsWith(`${id}.`)) mine.append(name.slice(id.length + 1), value);
  return mine;
}
