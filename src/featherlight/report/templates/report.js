// Click, Enter or Space on a heading sorts by its column; again turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", direction);
      const value = (row) => Number(row.cells[heading.cellIndex].dataset.v);
      const sign = direction === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
    });
  }
}

// A search field shows the rows of its table whose heading has the words in it.
for (const field of document.querySelectorAll("[data-search]")) {
  const rows = document.getElementById(field.dataset.search).tBodies[0].rows;
  field.closest("[hidden]").hidden = false;
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
}
