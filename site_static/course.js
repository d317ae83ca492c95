// Browsers refuse a page opened from a folder to fetch its neighbours: search without excerpts there.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Paper is white: print in the light scheme.
const scheme = document.documentElement.dataset;
addEventListener("beforeprint", () => { scheme.onScreen = scheme.theme; scheme.theme = "light"; });
addEventListener("afterprint", () => { scheme.theme = scheme.onScreen; });

// Docutils marks the bibliography as a list without items.
addEventListener("DOMContentLoaded", () => {
  for (const entry of document.querySelectorAll(".citation-list > .citation")) entry.role = "listitem";
});
