// Bundles the libraries of the page of leaderboards into one file, with a manifest of what is in it and all licences.
// Run by `make vendor`, after `npm ci`, which checks the packages against the hashes of package-lock.json.
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const target = new URL("../../lipbench/leaderboard/render/html/vendor/", import.meta.url);
const here = new URL("./", import.meta.url);
const lock = JSON.parse(await readFile(new URL("package-lock.json", here)));

const bundled = await build({
  absWorkingDir: here.pathname,
  entryPoints: ["entry.mjs"],
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "vendor",
  target: "es2022",
  charset: "ascii",
  define: { "process.env.NODE_ENV": '"production"' },
  legalComments: "none",
  metafile: true,
  write: false,
});

// Only what left bytes in the bundle, not all that was installed.
const used = Object.values(bundled.metafile.outputs)[0].inputs;
const folders = new Set();
for (const [file, { bytesInOutput }] of Object.entries(used)) {
  const found = bytesInOutput > 0 && file.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) folders.add(found[1]);
}

const packages = [];
const licences = [];
for (const name of [...folders].sort()) {
  const folder = new URL(`node_modules/${name}/`, here);
  const facts = JSON.parse(await readFile(new URL("package.json", folder)));
  const locked = lock.packages[`node_modules/${name}`];
  const file = (await readdir(folder)).find((f) => /^licen[cs]e/i.test(f));
  if (!file) throw new Error(`${name} has no licence file`);
  const text = (await readFile(new URL(file, folder), "utf8")).trim();
  licences.push(`${name} ${facts.version} (${facts.license})\n\n${text}`);
  packages.push({
    name,
    version: facts.version,
    licence: facts.license,
    source: `pkg:npm/${name.replace("@", "%40")}@${facts.version}`,
    integrity: locked.integrity,
  });
}

const rule = `\n\n${"-".repeat(78)}\n\n`;
const notice = licences.join(rule) + "\n";
if (notice.includes("*/") || /<\/script|<!--/i.test(notice)) throw new Error("a licence would end the comment that holds it");
const code = `/*! Libraries of this page and their licences.\n\n${notice}*/\n${bundled.outputFiles[0].text}`;
if (/<\/script|<!--/i.test(code)) throw new Error("the bundle would end the script element that holds it");

const files = { "LICENSES.txt": notice, "vendor.js": code };
const manifest = { bundler: `esbuild ${lock.packages["node_modules/esbuild"].version}`, files: {}, packages };
for (const [name, text] of Object.entries(files)) {
  await writeFile(new URL(name, target), text);
  manifest.files[name] = { bytes: Buffer.byteLength(text), sha256: createHash("sha256").update(text).digest("hex") };
}
await writeFile(new URL("manifest.json", target), JSON.stringify(manifest, null, 1) + "\n");
