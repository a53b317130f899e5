// Sets the chosen colours before anything is drawn; without a choice the system's are used.
"use strict";
(() => {
  const order = ["auto", "light", "dark"];
  const names = { auto: "as the system", light: "light", dark: "dark" };
  const stored = () => {
    try {
      return order.includes(localStorage.getItem("crma-theme")) ? localStorage.getItem("crma-theme") : "auto";
    } catch {
      return "auto";
    }
  };
  const show = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  show(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = (theme) => {
      button.textContent = theme[0].toUpperCase() + theme.slice(1);
      button.setAttribute("aria-label", `Colours: ${names[theme]}`);
    };
    let theme = stored();
    label(theme);
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      try {
        localStorage.setItem("crma-theme", theme);
      } catch { /* without storage the choice lasts as long as the page */ }
      show(theme);
      label(theme);
    });
  });
})();
