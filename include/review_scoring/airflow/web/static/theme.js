// The theme: Airflow's inside its frame, otherwise the system's, and light on paper. Runs before the first paint.
"use strict";
(() => {
  const ours = document.documentElement;
  let theirs = null;
  try {
    if (window.parent !== window) theirs = window.parent.document.documentElement;
  } catch {
    // framed by another origin: use the system's theme
  }
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const paper = window.matchMedia("print");
  let printing = false;
  const follow = () => {
    const named = theirs && ["dark", "light"].find((each) => theirs.classList.contains(each));
    const theme = printing || paper.matches ? "light" : named || (system.matches ? "dark" : "light");
    if (ours.dataset.theme === theme) return;
    ours.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };
  follow();
  const print = (begins) => () => {
    printing = begins;
    follow();
  };
  system.addEventListener("change", follow);
  paper.addEventListener("change", follow);
  window.addEventListener("beforeprint", print(true));
  window.addEventListener("afterprint", print(false));
  if (theirs) new MutationObserver(follow).observe(theirs, { attributes: true, attributeFilter: ["class"] });
})();
