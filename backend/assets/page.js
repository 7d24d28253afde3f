// Keyboard shortcuts: "/" focuses the search box, "j" and "k" move to the next and previous line, "o" opens a line.
// Pages work without this script.
"use strict";
document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return;
  if (event.key === "/") {
    event.preventDefault();
    const find = document.getElementById("find");
    find.focus();
    find.select();
  } else if (event.key === "j" || event.key === "k") {
    const lines = [...document.querySelectorAll(".line > details > summary")];
    const here = lines.indexOf(document.activeElement);
    const next = lines[event.key === "j" ? here + 1 : Math.max(here - 1, 0)];
    if (next) {
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    }
  } else if (event.key === "o" && at.matches && at.matches(".line > details > summary")) {
    at.click();
  }
});
// A pasted request ID is searched for at once.
const find = document.getElementById("find");
if (find) {
  find.addEventListener("paste", () => {
    setTimeout(() => {
      if (/^[A-Za-z0-9._:/+=-]{8,128}$/.test(find.value.trim()) && /[0-9]/.test(find.value)) find.form.requestSubmit();
    }, 0);
  });
}
