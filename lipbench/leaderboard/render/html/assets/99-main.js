// Which page is shown, and in which theme.

const THEMES = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", theme);
  one("#theme").replaceChildren(THEMES[theme]);
  one("#theme").setAttribute("aria-label", `Theme: ${theme}`);
  return theme;
}

/** What is kept between visits; a browser may refuse that to files. */
const kept = {
  get: (name) => { try { return localStorage.getItem(`lipbench.${name}`); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(`lipbench.${name}`, value); } catch { /* then not */ } },
};

let theme = setTheme(kept.get("theme") in THEMES ? kept.get("theme") : "auto");
one("#theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  theme = setTheme(names[(names.indexOf(theme) + 1) % names.length]);
  kept.set("theme", theme);
});

const blobs = [...document.querySelectorAll("script[data-name]")].map((script) => script.dataset.name);
const overview = one("#overview"), suiteRoot = one("#suite");
let page = null;
const panel = new Panel(one("#panel"), () => page?.changed());

async function navigate() {
  const route = readRoute();
  if (!route) return;
  const number = blobs.indexOf(route.suite);
  for (const link of document.querySelectorAll(".suites a")) {
    if (number >= 0 && link.textContent === route.suite) {
      link.setAttribute("aria-current", "page");
      const bar = link.parentElement;
      bar.scrollLeft = link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
    } else link.removeAttribute("aria-current");
  }
  if (page && page.suite.name !== route.suite) {
    page.stop();
    page = null;
  }
  overview.hidden = number >= 0;
  suiteRoot.hidden = number < 0;
  if (number < 0) {
    document.title = "Leaderboards · lipbench";
    return;
  }
  if (!page) {
    const suite = await openSuite(number);
    if (readRoute()?.suite !== route.suite) return; // another link was faster
    document.title = `${suite.title} · lipbench`;
    page = new SuitePage(suiteRoot, suite, panel);
    scrollTo(0, 0);
    page.read(route.params, true);
  } else page.read(route.params);
  document.documentElement.dataset.ready = route.suite;
}

for (const place of document.querySelectorAll("[data-seconds]")) place.replaceChildren(duration(Number(place.dataset.seconds)));
for (const place of document.querySelectorAll("[data-date]")) place.replaceChildren(dateWords(place.dataset.date));
one(".skip").addEventListener("click", (event) => (event.preventDefault(), one("#content").focus()));
addEventListener("hashchange", navigate);
navigate();
