// Parts of the panel that show records: seeds, failures, parameters, runs.

/** Each seed's value with its interval on one line, and the mean; null where there is nothing to compare. */
function seedPlot(records, entry) {
  const good = records.filter((record) => record.status === "ok" && record.value !== null);
  const ends = [...good.flatMap((r) => [r.value, r.low, r.high]), entry.low, entry.high].filter((x) => typeof x === "number");
  if (!ends.length || Math.min(...ends) === Math.max(...ends)) return null;
  const width = 360, step = 14, top = 12, height = top + step * good.length + 26;
  const x = vendor.scaleLinear([Math.min(...ends), Math.max(...ends)], [10, width - 10]);
  const parts = [];
  if (good.length > 1 && typeof entry.low === "number") {
    parts.push(draw("rect", { class: "band", x: x(entry.low), y: 4, width: Math.max(1, x(entry.high) - x(entry.low)), height: height - 26 }));
  }
  if (good.length > 1 && entry.value !== null) parts.push(draw("line", { class: "mean", x1: x(entry.value), x2: x(entry.value), y1: 4, y2: height - 22 }));
  good.forEach((record, i) => {
    const y = top + step * i + 4;
    if (record.low !== null) parts.push(draw("line", { class: "whisker", x1: x(record.low), x2: x(record.high), y1: y, y2: y }));
    parts.push(draw("circle", { class: "seed", cx: x(record.value), cy: y, r: 3.5 }));
  });
  const [low, high] = x.domain();
  parts.push(draw("text", { class: "tick", x: 10, y: height - 6 }, figure(low, 4)), draw("text", { class: "tick", x: width - 10, y: height - 6, "text-anchor": "end" }, figure(high, 4)));
  return draw("svg", { class: "seeds", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Values of ${good.length} seeds, the numbers are in the table of seeds` }, ...parts);
}

function seedTable(records) {
  const columns = [
    ["seed", (r) => String(r.seed), true],
    ["value", (r) => (r.value === null ? r.status : figure(r.value)), true],
    ["interval", (r) => (r.low === null ? "" : `${figure(r.low, 4)} to ${figure(r.high, 4)}`), records.some((r) => r.low !== null)],
    ["time", (r) => duration(r.seconds), records.some((r) => r.seconds !== null)],
    ["forwards", (r) => figure(r.forwards), records.some((r) => r.forwards)],
    ["backwards", (r) => figure(r.backwards), records.some((r) => r.backwards)],
    ["peak memory", (r) => bytes(r.peak_bytes), records.some((r) => r.peak_bytes)],
    ["device", (r) => r.device, true],
    ["cell", (r) => make("code", null, r.cell), true],
  ].filter(([, , wanted]) => wanted);
  const methods = [...new Set(records.filter((r) => r.how).map((r) => howWords(...r.how).trim().slice(1, -1)))];
  const unranked = [...new Set(records.map((r) => r.unranked).filter(Boolean))];
  return make("div", null,
    make("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Table of seeds" }, make("table", { class: "small" },
      make("thead", null, make("tr", null, ...columns.map(([name]) => make("th", { scope: "col" }, name)))),
      make("tbody", null, ...records.map((record) => make("tr", { class: record.status === "ok" ? null : "bad" }, ...columns.map(([, text]) => make("td", null, text(record)))))))),
    methods.length ? make("p", { class: "caption" }, `Interval of a seed: ${methods.join("; ")}`) : null,
    ...unranked.map((why) => make("p", { class: "caption" }, `Not to be ranked: ${why}`)));
}

function failures(records, logs) {
  if (!records.length) return [];
  const reasons = new Map();
  for (const record of records) {
    const words = `${record.status}: ${record.error || "no reason was given"}`;
    reasons.set(words, [...(reasons.get(words) ?? []), record.seed]);
  }
  const runs = [...new Set(records.map((record) => record.run))];
  const tails = runs.flatMap((run) => logs[run] ?? []);
  const named = tails.filter(([name]) => records.some((record) => record.error.includes(name)));
  return [
    make("div", { class: "alert" }, ...[...reasons].map(([words, seeds]) => make("p", null, make("strong", null, `Seed${seeds.length > 1 ? "s" : ""} ${seeds.join(", ")}: `), words))),
    ...(named.length ? named : tails).map(([name, text]) => make("details", { open: named.length > 0 }, make("summary", null, `End of ${name}`), make("pre", { tabindex: 0, "aria-label": `End of ${name}` }, text))),
  ];
}

/** Parameters, further figures, runs and fingerprints of some seeds of one place. */
function provenance(records, suite) {
  const first = records[0];
  const parts = first.parts.map((part) => [
    make("h4", null, part.name, make("span", { class: "use" }, ` ${part.label}${part.use && part.use !== part.label ? `, a ${part.use}` : ""}`)),
    pairs(part.params),
  ]);
  const extras = records.flatMap((record) => (record.extras.length ? [[record.seed, record.extras]] : []));
  const prints = [...new Set(records.flatMap((record) => record.parts.map((part) => JSON.stringify([part.name, part.code, part.data]))))].map((text) => JSON.parse(text));
  return [
    section("Parameters", ...parts.flat()),
    extras.length ? folded("Also recorded", ...extras.flatMap(([seed, list]) => [extras.length > 1 ? make("h4", null, `seed ${seed}`) : null, pairs(list)])) : null,
    ...[...new Set(records.map((record) => record.run))].map((run) => runSection(run, suite.runs[run])),
    folded("Fingerprints", pairs(prints.flatMap(([name, code, data]) => [[`${name}, code`, code], [`${name}, data`, data]]))),
  ];
}

function runSection(id, run) {
  if (!run) return section("Run", pairs([["id", id || "not recorded"]]));
  return section("Run", pairs([["id", id], ["started", run.started.replace("T", " ").replace("+00:00", " UTC")], ["profile", run.profile], ["commit", run.commit]]),
    run.command ? make("pre", { class: "command", tabindex: 0, "aria-label": "Command of the run" }, run.command) : null,
    pairs(run.machine),
    run.environment.length ? folded("Environment", pairs(run.environment)) : null,
    folded("Versions", pairs(run.packages), run.plugins.length ? make("h4", null, "plugins") : null, pairs(run.plugins)));
}
