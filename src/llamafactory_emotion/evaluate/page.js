"use strict";
// Hides the answers that do not hold the words searched for; `#q=...` in the address searches too.
{
  const field = document.getElementById("query");
  const found = document.getElementById("found");
  const fold = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();
  const answers = Array.from(document.querySelectorAll("[data-answer]"), (item) => [
    item,
    fold(item.textContent),
  ]);

  const search = () => {
    const wanted = fold(field.value);
    let left = 0;
    for (const [item, text] of answers) {
      item.hidden = !text.includes(wanted);
      left += item.hidden ? 0 : 1;
    }
    found.textContent = wanted ? `${left} of ${answers.length}` : `${answers.length} answers`;
  };

  const wantedByAddress = () => {
    const query = /^#q=(.*)$/.exec(location.hash);
    if (!query) {
      return false;
    }
    try {
      field.value = decodeURIComponent(query[1]);
    } catch {
      field.value = query[1]; // a stray per cent sign
    }
    search();
    return true;
  };

  const showFirst = () => {
    const first = answers.find(([item]) => !item.hidden);
    (first ? first[0] : found).scrollIntoView({ block: "center" });
  };

  field.addEventListener("input", () => {
    search();
    history.replaceState(null, "", field.value ? `#q=${encodeURIComponent(field.value)}` : "#");
  });
  window.addEventListener("hashchange", () => wantedByAddress() && showFirst());
  if (answers.length) {
    document.getElementById("search").hidden = false;
    search();
    if (wantedByAddress()) {
      showFirst();
    }
  }
}
