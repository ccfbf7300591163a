"use strict";
// Sorts and filters the table of images. Without it the page is complete, and stays as it is.
(() => {
  const table = document.getElementById("images");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const words = document.getElementById("words");
  const status = document.getElementById("status");
  const platform = document.getElementById("platform");
  const shown = document.getElementById("shown");
  const texts = rows.map((row) => row.textContent.toLowerCase());

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, number) => {
      const fits = wanted.every((word) => texts[number].includes(word))
        && (!status.value || row.dataset.status === status.value)
        && (!platform.value || row.dataset.platforms.split("|").includes(platform.value));
      row.hidden = !fits;
      if (fits) count += 1;
    });
    shown.textContent = `${count} of ${rows.length} images`;
  }

  function sort(header) {
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    const sign = down ? -1 : 1;
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const compare = header.dataset.number !== undefined
      ? (a, b) => Number(key(a)) - Number(key(b))
      : (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
    body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  for (const control of [words, status, platform]) control.addEventListener("input", filter);
  for (const header of table.tHead.rows[0].cells) {
    header.querySelector("button").addEventListener("click", () => sort(header));
  }
  document.getElementById("controls").hidden = false;
  filter();
})();
