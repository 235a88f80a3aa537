// The confusion matrix: counts or shares, classes as listed or with those together that are taken for each other.
for (const card of document.querySelectorAll("[data-matrix]")) {
  const data = JSON.parse(card.querySelector("script").textContent);
  const controls = card.querySelector(".controls");
  controls.hidden = false;
  const chosen = (name) => controls.querySelector(`[name=${name}]:checked`).value;
  const order = () => (chosen("order") === "alike" ? data.order : data.order.map((_, place) => place));
  const strength = (part, isRight) => (isRight ? part : Math.sqrt(part)); // the root keeps rare errors visible
  const show = card.querySelector("canvas") ? drawing : table;
  controls.addEventListener("change", show(card, data, controls, chosen, order, strength));
}

function table(card, data, controls, chosen, order, strength) {
  const [head, ...rows] = card.querySelector("table").rows;
  const cells = rows.map((row) => [...row.cells]);
  const headings = [...head.cells];
  const counts = cells.map((row) => row.slice(1).map((cell) => Number(cell.textContent)));
  const most = Math.max(1, ...counts.flat());
  return () => {
    const isShare = chosen("numbers") === "share";
    rows.forEach((row, i) =>
      counts[i].forEach((count, j) => {
        if (!count) return;
        const share = count / Number(row.dataset.support);
        cells[i][j + 1].textContent = !isShare ? count : share < 0.01 ? "<1" : Math.round(100 * share);
        cells[i][j + 1].style.setProperty("--v", strength(isShare ? share : count / most, i === j).toFixed(2));
      }),
    );
    const places = order();
    head.append(...places.map((j) => headings[j + 1]));
    for (const i of places) rows[i].append(...places.map((j) => cells[i][j + 1]));
    rows[0].parentElement.append(...places.map((i) => rows[i]));
  };
}

// Only the part in view is drawn, on a canvas that stays while its parent scrolls: 1,000 classes are a million cells.
function drawing(card, data, controls, chosen, order, strength) {
  const [NAMES, READABLE] = [96, 9]; // room for names, and the least cell that has one
  const view = card.querySelector(".drawing");
  const paper = view.firstElementChild;
  const canvas = view.querySelector("canvas");
  const said = card.querySelector("[role=status]");
  const count = data.names.length;
  const cells = data.cells.map((row) => new Map(row.flatMap((_, k) => (k % 2 ? [] : [[row[k], row[k + 1]]]))));
  const most = cells.reduce((high, row) => Math.max(high, ...row.values()), 1);
  const zoom = controls.querySelector("[type=range]");
  let places = order(); // row or column -> class
  let at = places.map((_, place) => place); // class -> row or column
  let cell = 1;
  let margin = 0;
  let cursor = [0, 0];

  const resize = () => {
    const width = view.clientWidth;
    zoom.max = Math.max(1, Math.ceil(Math.log2((20 * count) / width))); // up to cells of 20 px or more
    const besideNames = (width - NAMES) / count; // where all cells fit beside readable names
    cell = (besideNames >= READABLE ? besideNames : width / count) * 2 ** Number(zoom.value);
    margin = cell >= READABLE ? NAMES : 0;
    paper.style.width = paper.style.height = `${margin + cell * count}px`;
    view.style.height = `${Math.min(width, 640)}px`;
    const scale = window.devicePixelRatio || 1;
    canvas.style.width = `${view.clientWidth}px`;
    canvas.style.height = `${view.clientHeight}px`;
    canvas.width = view.clientWidth * scale;
    canvas.height = view.clientHeight * scale;
    draw();
  };

  const draw = () => {
    const style = getComputedStyle(card);
    const [right, wrong, ink, ground, soft] = ["--right", "--wrong", "--ink", "--card", "--soft"].map((name) => style.getPropertyValue(name));
    const [x0, y0] = [margin - view.scrollLeft, margin - view.scrollTop];
    const isShare = chosen("numbers") === "share";
    const size = Math.max(cell - (cell > 6 ? 1 : 0), 1.25);
    const pen = canvas.getContext("2d");
    const scale = window.devicePixelRatio || 1;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const last = Math.min(count, Math.ceil((view.clientHeight - y0) / cell));
    for (let row = Math.max(0, Math.floor((margin - y0) / cell)); row < last; row++) {
      const i = places[row];
      for (const [j, n] of cells[i]) {
        const x = x0 + at[j] * cell;
        if (x + cell < margin || x > view.clientWidth) continue;
        pen.globalAlpha = 0.2 + 0.8 * Math.min(1, strength(n / (isShare ? data.support[i] : most), i === j));
        pen.fillStyle = i === j ? right : wrong;
        pen.fillRect(x, y0 + row * cell, size, size);
      }
    }
    pen.globalAlpha = 1;
    if (margin) names(pen, x0, y0, ground, soft);
    pen.strokeStyle = ink;
    if (view === document.activeElement) pen.strokeRect(x0 + cursor[1] * cell - 1.5, y0 + cursor[0] * cell - 1.5, size + 3, size + 3);
  };

  const names = (pen, x0, y0, ground, soft) => {
    const step = Math.max(1, Math.ceil(11 / cell));
    const write = (from, length, turn) => {
      for (let k = 0; k < count; k += step) {
        const middle = from + (k + 0.5) * cell;
        if (middle < margin || middle > length) continue;
        pen.save();
        pen.translate(turn ? middle : margin - 6, turn ? margin - 6 : middle);
        if (turn) pen.rotate(-Math.PI / 2);
        pen.textAlign = turn ? "left" : "right";
        pen.fillText(short(data.names[places[k]]), 0, 0);
        pen.restore();
      }
    };
    pen.fillStyle = ground;
    pen.fillRect(0, 0, view.clientWidth, margin);
    pen.fillRect(0, 0, margin, view.clientHeight);
    pen.fillStyle = soft;
    pen.font = "10px system-ui, sans-serif";
    pen.textBaseline = "middle";
    write(y0, view.clientHeight, false);
    write(x0, view.clientWidth, true);
  };
  const short = (name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name);

  const tell = () => {
    const [i, j] = cursor.map((place) => places[place]);
    const n = cells[i].get(j) || 0;
    const share = `${((100 * n) / Math.max(1, data.support[i])).toFixed(1)}%`;
    const values = { true: data.names[i], predicted: data.names[j], count: n, support: data.support[i], share };
    said.textContent = said.dataset.say.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  };

  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const place = [event.clientY - box.top - margin + view.scrollTop, event.clientX - box.left - margin + view.scrollLeft].map((length) => Math.floor(length / cell));
    if (place.some((k) => k < 0 || k >= count)) return;
    cursor = near(place);
    tell();
  };
  // Where cells are smaller than a fingertip the largest mistake around it is meant.
  const near = ([row, column]) => {
    const reach = Math.min(6, Math.floor(3 / cell));
    let found = [row, column];
    let largest = 0;
    for (let r = Math.max(0, row - reach); r <= Math.min(count - 1, row + reach); r++)
      for (let c = Math.max(0, column - reach); c <= Math.min(count - 1, column + reach); c++) {
        const n = cells[places[r]].get(places[c]) || 0;
        if (n > largest && (r !== c || !reach)) [largest, found] = [n, [r, c]];
      }
    return found;
  };

  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  view.addEventListener("keydown", (event) => {
    const step = arrows[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    // On to the next cell that is not empty, else to the edge.
    let next = cursor;
    do {
      const moved = next.map((place, k) => place + step[k]);
      if (moved.some((place) => place < 0 || place >= count)) break;
      next = moved;
    } while (!cells[places[next[0]]].has(places[next[1]]));
    cursor = next;
    const [top, left] = cursor.map((place) => place * cell);
    const room = [view.clientHeight - margin - cell, view.clientWidth - margin - cell];
    view.scrollTop = Math.min(Math.max(view.scrollTop, top - room[0]), top);
    view.scrollLeft = Math.min(Math.max(view.scrollLeft, left - room[1]), left);
    tell();
    draw();
  });
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  view.addEventListener("scroll", draw);
  for (const name of ["focus", "blur"]) view.addEventListener(name, draw);
  zoom.addEventListener("input", () => {
    const middle = [view.scrollTop + view.clientHeight / 2, view.scrollLeft + view.clientWidth / 2].map((length) => (length - margin) / cell);
    resize();
    view.scrollTop = middle[0] * cell + margin - view.clientHeight / 2;
    view.scrollLeft = middle[1] * cell + margin - view.clientWidth / 2;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(resize).observe(view.parentElement);
  const show = () => {
    places = order();
    places.forEach((i, place) => (at[i] = place));
    draw();
  };
  show();
  return show;
}
