// Mistakes: filtered by class and kind, in the order that fits the kind, some at a time.
for (const card of document.querySelectorAll("[data-mistakes]")) {
  const controls = card.querySelector(".controls");
  const list = card.querySelector(".mistakes");
  const figures = [...list.children];
  const said = card.querySelector("[role=status]");
  const more = card.querySelector(".more");
  const page = 24;
  let limit = page;
  const number = (figure, name) => Number(figure.dataset[name]);
  const orders = {
    "": (a, b) => number(b, "p") - number(a, "p"),
    unsure: (a, b) => number(a, "p") - number(b, "p"),
    pair: (a, b) => number(a, "pair") - number(b, "pair") || number(b, "p") - number(a, "p"),
  };
  const belongs = {
    "": (figure) => !("right" in figure.dataset),
    unsure: () => true,
    pair: (figure) => number(figure, "pair") >= 0,
  };
  const value = (name) => controls.querySelector(`[name=${name}]`)?.value ?? "";

  const show = () => {
    const kind = value("kind");
    const fits = (figure) =>
      belongs[kind](figure) &&
      ["true", "predicted"].every((name) => !value(name) || figure.dataset[name] === value(name));
    const found = figures.filter(fits).sort(orders[kind]);
    for (const figure of figures) figure.hidden = true;
    for (const figure of found.slice(0, limit)) figure.hidden = false;
    list.append(...found);
    more.hidden = found.length <= limit;
    const isFiltered = kind === "pair" || value("true") || value("predicted");
    said.textContent = !isFiltered ? "" : said.dataset.say.replace("{found}", found.length).replace("{all}", figures.length);
    for (const heat of card.querySelectorAll("[data-heat]")) heat.hidden = heat.dataset.heat !== value("heat");
  };
  controls.hidden = false;
  controls.addEventListener("change", () => {
    limit = page;
    show();
  });
  more.querySelector("button").addEventListener("click", () => {
    const first = [...list.children].find((figure) => figure.hidden);
    limit += page;
    show();
    first?.setAttribute("tabindex", "-1");
    first?.focus();
  });
  show();
}
