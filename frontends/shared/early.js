// The one script that runs before the first paint: a chosen theme must not flash the other one first.
// The name of the entry is the one that theme.js writes.
try {
  const theme = JSON.parse(localStorage.getItem("codebank.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is refused or holds something else: the system's theme stands.
}
