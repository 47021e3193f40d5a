// Keys, focus and refused answers of the review. Without this file its forms work as plain posts.
"use strict";

(() => {
  const STORED = "reviewKeys";
  const root = document.getElementById("review");
  const sheet = document.getElementById("review-keys");
  const keysOn = document.getElementById("review-keys-on");

  // People who speak to their computer, or lean on its keys, have to be able to turn single keys off.
  keysOn.checked = localStorage.getItem(STORED) !== "off";
  keysOn.addEventListener("change", () => localStorage.setItem(STORED, keysOn.checked ? "on" : "off"));

  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

  function showOpeners() {
    for (const opener of root.querySelectorAll(".review-keys-open")) {
      opener.hidden = false;
    }
  }

  function use(element) {
    if (element.tagName !== "SUMMARY") {
      element.click();
      return;
    }
    const fold = element.parentElement;
    fold.open = !fold.open;
    const field = fold.open ? fold.querySelector("textarea, input:not([type=hidden])") : null;
    (field ?? element).focus();
  }

  function step(direction) {
    const stops = [...root.querySelectorAll("[data-stop]")];
    const here = stops.findIndex((stop) => stop.contains(document.activeElement));
    const next = here < 0 ? (direction > 0 ? 0 : stops.length - 1) : here + direction;
    stops[next]?.focus();
  }

  function typed(event) {
    if (event.key === "Escape" && root.contains(event.target)) {
      const fold = event.target.closest("details");
      if (fold !== null) {
        fold.open = false;
        fold.querySelector("summary").focus();
      }
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && root.contains(event.target)) {
      const button = event.target.form?.querySelector("button[type=submit]");
      button?.click();
    }
  }

  document.addEventListener("keydown", (event) => {
    if (isTyping(event.target)) {
      typed(event);
      return;
    }
    if (sheet.open || !keysOn.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) {
      if (event.key === "?" && !sheet.open) {
        sheet.showModal();
      }
      return;
    }
    // Until htmx has taken over the new card, its forms would be posted as pages.
    if (root.querySelector(".htmx-request, .htmx-swapping, .htmx-settling") !== null) {
      event.preventDefault();
      return;
    }
    if (event.key === "?") {
      sheet.showModal();
    } else if (event.key === "j" || event.key === "k") {
      step(event.key === "j" ? 1 : -1);
    } else {
      const name = event.shiftKey ? `Shift+${event.key.toUpperCase()}` : event.key;
      const element = [...root.querySelectorAll("[aria-keyshortcuts]")].find(
        (each) => each.getAttribute("aria-keyshortcuts") === name && !each.hidden,
      );
      if (element === undefined) {
        return;
      }
      use(element);
    }
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest(".review-keys-open") !== null) {
      sheet.showModal();
    }
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (target.id !== "review-card") {
      return;
    }
    const isCard = xhr.responseText.includes('id="review-card"');
    if ([400, 409].includes(xhr.status) && isCard) {
      // A refused decision comes back as a card, too, with the reason in the line above it.
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    } else if (xhr.status === 200 && !isCard) {
      // The page of the login: the session has ended.
      event.detail.shouldSwap = false;
      window.location.reload();
    }
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "review-card") {
      return;
    }
    showOpeners();
    window.scrollTo({ top: 0 });
    const opened = root.querySelector(".review-corrections details[open] :is(textarea, input:not([type=hidden]))");
    (opened ?? document.getElementById("review-title")).focus({ preventScroll: opened === null });
  });

  for (const failure of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(failure, (event) => {
      const status = event.detail.xhr.status;
      document.getElementById("review-message").textContent = status
        ? `Nothing was decided: the server answered ${status}. Reload the page.`
        : "Nothing was decided: the server cannot be reached.";
    });
  }

  showOpeners();
})();
