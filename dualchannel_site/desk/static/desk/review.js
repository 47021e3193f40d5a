// Keys, focus and refused answers of the review. Without this file its forms work as plain posts.
"use strict";

(() => {
  const STORED = "reviewKeys";
  const root = document.getElementById("review");
  const sheet = document.getElementById("review-keys");
  const keysOn = document.getElementById("review-keys-on");
  const loggedOut = document.getElementById("review-logged-out");
  const loginPath = loggedOut.content.querySelector("a").getAttribute("href");

  // People who speak to their computer, or lean on its keys, have to be able to turn single keys off.
  keysOn.checked = localStorage.getItem(STORED) !== "off";
  keysOn.addEventListener("change", () => localStorage.setItem(STORED, keysOn.checked ? "on" : "off"));

  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

  function prepare() {
    for (const opener of root.querySelectorAll(".review-keys-open")) {
      opener.hidden = false;
    }
    // The text of a refused edit stands in its field again, and is as little saved as when it was typed.
    for (const field of root.querySelectorAll("textarea[data-stored]")) {
      const typedText = field.value;
      field.defaultValue = field.dataset.stored;
      field.value = typedText;
    }
  }

  function unsaved(besides = null) {
    return [...root.querySelectorAll("textarea")].find(
      (field) => field.form !== besides && field.value !== field.defaultValue,
    );
  }

  function say(...nodes) {
    document.getElementById("review-message").replaceChildren(...nodes);
  }

  function sayNothingDone(why) {
    const line = document.createElement("p");
    line.className = "review-said review-said--error";
    line.textContent = `Nothing was decided: ${why}`;
    say(line);
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

  document.addEventListener("htmx:configRequest", (event) => {
    // Logging in again, in another tab, changes the token that the forms of this page were made with.
    const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    if (event.detail.verb === "post" && token !== null) {
      event.detail.formData.set("csrfmiddlewaretoken", token[1]);
    }
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    // The next card takes the place of this one, with all that is typed in it.
    const field = event.detail.target.id === "review-card" ? unsaved(event.detail.elt) : undefined;
    if (field !== undefined) {
      event.preventDefault();
      field.closest("details").open = true;
      field.focus();
      sayNothingDone(`what you typed under ${field.labels[0].textContent} is not saved. Save it or discard it first.`);
    }
  });

  window.addEventListener("beforeunload", (event) => {
    if (unsaved() !== undefined) {
      event.preventDefault();
    }
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (new URL(xhr.responseURL).pathname === loginPath) {
      // The session has ended. A reload would lose what is typed.
      event.detail.shouldSwap = false;
      say(loggedOut.content.cloneNode(true));
      return;
    }
    if (target.id !== "review-card") {
      return;
    }
    const isCard = xhr.responseText.includes('id="review-card"');
    if ([400, 409].includes(xhr.status) && isCard) {
      // A refused decision comes back as a card, too, with the reason in the line above it.
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "review-card") {
      return;
    }
    prepare();
    window.scrollTo({ top: 0 });
    const opened = root.querySelector(".review-corrections details[open] :is(textarea, input:not([type=hidden]))");
    (opened ?? document.getElementById("review-title")).focus({ preventScroll: opened === null });
  });

  for (const failure of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(failure, (event) => {
      const status = event.detail.xhr.status;
      sayNothingDone(status ? `the server answered ${status}. Reload the page.` : "the server cannot be reached.");
    });
  }

  prepare();
})();
