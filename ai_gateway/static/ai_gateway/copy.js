// Copy buttons: <button data-gateway-copy="id of what is copied" data-gateway-done="Copied" hidden>.
// Without this script the buttons stay hidden, and the text can be selected.
"use strict";

function textOf(source) {
  return "value" in source && source.value !== undefined ? source.value : source.textContent;
}

function select(source) {
  if (typeof source.select === "function") {
    source.focus();
    source.select();
  } else {
    window.getSelection().selectAllChildren(source);
  }
}

async function copy(source) {
  // The clipboard is there on https and localhost only.
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(textOf(source));
  } else {
    select(source);
    if (!document.execCommand("copy")) throw new Error("not copied");
  }
}

for (const button of document.querySelectorAll("[data-gateway-copy]")) {
  const source = document.getElementById(button.dataset.gatewayCopy);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await copy(source);
      button.textContent = button.dataset.gatewayDone;
      setTimeout(() => { button.textContent = label; }, 2000);
    } catch {
      select(source);
    }
  });
}

// A page that shows a key is the answer to a form. Reloading it leads on, and does not send the form again.
const shown = document.querySelector("[data-gateway-after]");
if (shown) history.replaceState(null, "", shown.dataset.gatewayAfter);
