// The plots that plugins drew, each unpacked when it comes near the screen, and one at a time in full size.

function plotGallery(plots) {
  const dialog = make("dialog", { class: "lightbox", "aria-label": "Plot" });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const unpack = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) (unpack.unobserve(target), target.dispatchEvent(new Event("unpack")));
  }, { rootMargin: "400px" });
  const figures = plots.map((plot) => {
    const words = plot.name.replace(/[_-]+/g, " ");
    const image = make("img", { alt: `Plot: ${words}`, width: plot.width || null, height: plot.height || null });
    image.addEventListener("unpack", async () => image.setAttribute("src", await imageAddress(plot.image, plot.kind)));
    const large = () => {
      const copy = make("img", { alt: `Plot: ${words}`, src: image.getAttribute("src"), width: plot.width || null, height: plot.height || null });
      dialog.replaceChildren(make("div", { class: "lightbox-head" }, make("h2", null, words), make("button", { type: "button", class: "plain close", "aria-label": "Close the plot", on: { click: () => dialog.close() } }, "×")), make("div", { class: "lightbox-body", tabindex: 0, role: "group", "aria-label": words }, copy));
      dialog.showModal();
    };
    unpack.observe(image);
    return make("figure", { class: plot.width > 1.7 * plot.height ? "broad" : null }, make("button", { type: "button", class: "image", "aria-label": `Enlarge ${words}`, on: { click: large } }, image), make("figcaption", null, words));
  });
  const print = () => figures.forEach((figure) => one("img", figure).getAttribute("src") || one("img", figure).dispatchEvent(new Event("unpack")));
  addEventListener("beforeprint", print);
  return { element: make("div", null, make("div", { class: "gallery" }, ...figures), dialog), stop: () => (unpack.disconnect(), removeEventListener("beforeprint", print)) };
}
