// Puts the page together: language, colours, and the three sections.

import { redraw } from "./charts.js";
import { $ } from "./dom.js";
import * as forecast from "./forecast.js";
import { lang, onLanguage, speak } from "./i18n.js";
import * as model from "./model.js";
import * as why from "./why.js";

function languages() {
  const links = [...$("#languages").children];
  $("#languages").addEventListener("click", (event) => {
    const next = event.target.dataset?.lang;
    if (!next || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    // In the address, so that a reload and a bookmark speak the same language.
    const address = new URL(location.href);
    address.searchParams.set("lang", next);
    history.replaceState(null, "", address);
    speak(next);
  });
  onLanguage(() => {
    for (const link of links) {
      if (link.dataset.lang === lang()) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  });
}

function themes() {
  const root = document.documentElement;
  const buttons = [...$("#themes").children];
  const show = () => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.choice === (root.dataset.theme ?? "auto"));
  };
  $("#themes").addEventListener("click", (event) => {
    const choice = event.target.dataset?.choice;
    if (!choice) return;
    if (choice === "auto") {
      delete root.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      root.dataset.theme = choice;
      localStorage.setItem("theme", choice);
    }
    show();
    redraw();
  });
  show();
}

// The page is complete as sent: it is shown before any call.
await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
languages();
themes();
$("#key-again").addEventListener("click", () => location.reload());
why.start();
forecast.start({ forecast: why.useForecast, explain: why.explain });
await speak(document.documentElement.lang);
await model.start(forecast.useModel);
document.documentElement.dataset.ready = "";
