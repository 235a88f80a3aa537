// What a page must have for people who cannot see it, or see little: called in the browser, returns what is wrong.
() => {
  const problems = [];
  const name = (element) => `${element.tagName.toLowerCase()}${element.className && element.className.baseVal === undefined ? "." + element.className : ""}: ${(element.textContent || "").trim().slice(0, 40)}`;
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

  // Colours come as rgb(...) or, out of color-mix, as color(srgb ...).
  const parse = (text) => {
    const numbers = text.match(/-?[\d.]+(e-?\d+)?/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    const [r, g, b, alpha = 1] = numbers;
    return { rgb: [r, g, b].map((value) => value * scale), alpha };
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.alpha > 0.99) return colour.rgb;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor).rgb;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !visible(element) || element.closest("script, style, noscript, title, option")) continue;
    const style = getComputedStyle(element);
    const colour = parse(element instanceof SVGElement ? style.fill : style.color).rgb;
    const [high, low] = [light(colour), light(ground(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = (high + 0.05) / (low + 0.05);
    texts++;
    if (contrast < (isLarge ? 3 : 4.5)) problems.push(`contrast ${contrast.toFixed(2)} of ${name(element)}`);
  }
  if (texts < 20) problems.push(`only ${texts} texts were looked at`);

  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) problems.push("there is not one h1, first of all");
  levels.forEach((level, k) => k && level > levels[k - 1] + 1 && problems.push(`heading ${k} leaves out a level`));
  if (!document.documentElement.lang) problems.push("no language");
  if (document.querySelectorAll("main").length !== 1) problems.push("there is not one main");

  const named = (element) => element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || element.labels?.length || element.textContent.trim();
  for (const element of document.querySelectorAll("input, select, button, a, nav, section, [role=region], [role=application], svg[role=img]"))
    if (!named(element)) problems.push(`no name: ${name(element)}`);
  for (const element of document.querySelectorAll("[aria-labelledby], [aria-describedby]"))
    for (const id of `${element.getAttribute("aria-labelledby") || ""} ${element.getAttribute("aria-describedby") || ""}`.split(" ").filter(Boolean))
      if (!document.getElementById(id)) problems.push(`${name(element)} is named by ${id}, which is not there`);
  for (const image of document.images) if (!image.hasAttribute("alt")) problems.push("an image without alt");
  for (const drawing of document.querySelectorAll("svg"))
    if (!drawing.getAttribute("aria-label") && !drawing.getAttribute("aria-hidden")) problems.push("a drawing without a name");
  for (const cell of document.querySelectorAll("th")) if (!cell.scope) problems.push(`no scope: ${name(cell)}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  ids.forEach((id, k) => ids.indexOf(id) !== k && problems.push(`id ${id} twice`));

  for (const element of document.querySelectorAll("button, select, input:not([type=radio]), nav a, .switch label, summary")) {
    const box = element.getBoundingClientRect();
    if (visible(element) && box.width && (box.height < 24 || box.width < 24)) problems.push(`${Math.round(box.width)} x ${Math.round(box.height)} px to hit: ${name(element)}`);
  }
  for (const element of document.querySelectorAll("*")) {
    const style = getComputedStyle(element);
    const scrolls = ["auto", "scroll"].some((value) => [style.overflowX, style.overflowY].includes(value));
    if (scrolls && visible(element) && (element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1) && element.tabIndex < 0)
      problems.push(`scrolls, but not by keyboard: ${name(element)}`);
  }
  return [...new Set(problems)];
};
