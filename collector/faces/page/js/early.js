// Before anything is drawn: the theme that was chosen, else the system's, so that a dark page does not begin with a white
// flash.
(() => {
  const named = new URLSearchParams(location.hash.split("?")[1] || "").get("theme");
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem("dify-metric") || "{}").theme;
  } catch {
    kept = null;
  }
  const chosen = named || kept;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : system;
})();
