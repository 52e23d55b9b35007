// The plots that plugins drew, unpacked when they come near the screen, and one at a time in full size.

function plotGallery(plots) {
  const dialog = make("dialog", { class: "lightbox", "aria-label": "Plot" });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const unpack = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) show(target);
  }, { rootMargin: "400px" });
  const waiting = new Map();
  const show = async (image) => {
    const plot = waiting.get(image);
    unpack.unobserve(image);
    if (waiting.delete(image)) image.setAttribute("src", await imageAddress(plot.image, plot.kind));
  };
  const figures = plots.map((plot) => {
    const words = plot.name.replace(/[_-]+/g, " ");
    if (!document.getElementById(`image-${plot.image}`)) {
      const file = `plots/${plot.name}.${plot.kind === "image/png" ? "png" : "svg"}`;
      return make("figure", null, make("p", { class: "absent" }, "This plot is too large for the page. It is ", make("code", null, file), " in the folder of the suite's results."), make("figcaption", null, words));
    }
    const image = make("img", { alt: `Plot: ${words}`, width: plot.width || null, height: plot.height || null });
    waiting.set(image, plot);
    const large = () => {
      const copy = make("img", { alt: `Plot: ${words}`, src: image.getAttribute("src"), width: plot.width || null, height: plot.height || null });
      dialog.replaceChildren(make("div", { class: "lightbox-head" }, make("h2", null, words), make("button", { type: "button", class: "plain close", "aria-label": "Close the plot", on: { click: () => dialog.close() } }, "×")), make("div", { class: "lightbox-body", tabindex: 0, role: "group", "aria-label": words }, copy));
      dialog.showModal();
    };
    unpack.observe(image);
    return make("figure", { class: plot.width > 1.7 * plot.height ? "broad" : null }, make("button", { type: "button", class: "image", "aria-label": `Enlarge ${words}`, on: { click: large } }, image), make("figcaption", null, words));
  });
  // Those out of sight follow one by one, since printing does not wait for them.
  const rest = setInterval(() => (waiting.size ? show(waiting.keys().next().value) : clearInterval(rest)), 400);
  return { element: make("div", null, make("div", { class: "gallery" }, ...figures), dialog), stop: () => (unpack.disconnect(), clearInterval(rest)) };
}
