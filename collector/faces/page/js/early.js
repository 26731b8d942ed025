// Before anything is drawn: the theme that was chosen, so that a dark page does not begin with a white flash.
(() => {
  const named = new URLSearchParams(location.hash.split("?")[1] || "").get("theme");
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem("dify-metric") || "{}").theme;
  } catch {
    kept = null;
  }
  const theme = named || kept;
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
