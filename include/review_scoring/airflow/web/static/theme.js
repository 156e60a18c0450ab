// Light or dark as Airflow around us is; on our own, as the system says. Runs before anything is drawn.
"use strict";
(() => {
  const ours = document.documentElement;
  let theirs = null;
  try {
    if (window.parent !== window) theirs = window.parent.document.documentElement;
  } catch {
    // framed by another origin: the system's choice holds
  }
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const named = theirs && ["dark", "light"].find((each) => theirs.classList.contains(each));
    const theme = named || (system.matches ? "dark" : "light");
    if (ours.dataset.theme === theme) return;
    ours.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };
  follow();
  system.addEventListener("change", follow);
  if (theirs) new MutationObserver(follow).observe(theirs, { attributes: true, attributeFilter: ["class"] });
})();
