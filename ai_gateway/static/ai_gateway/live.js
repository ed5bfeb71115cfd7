// The page of calls under way: fetches the part that changes, every so many seconds. It rests while the page is hidden,
// and while somebody is about to press a button in it, which must not move away. Without it there is the link.
"use strict";

const list = document.getElementById("gateway-live");
const state = document.getElementById("gateway-live-state");
const interval = Number(list.dataset.gatewayLive) * 1000;

function isBusy() {
  return document.hidden || list.querySelector(".gateway-cancel:hover, .gateway-cancel:focus-visible") !== null;
}

function tell(what) {
  if (state.textContent !== state.dataset[what]) state.textContent = state.dataset[what];
}

// Says what to tell: a redirect leads to the login, whose page is not the list.
async function refresh() {
  const url = new URL(window.location.href);
  url.searchParams.set("fragment", "1");
  const answer = await fetch(url, { credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(10000) });
  if (answer.type === "opaqueredirect") return "ended";
  if (!answer.ok) throw new Error(String(answer.status));
  const text = await answer.text();
  if (isBusy()) return "running";
  const left = [...list.querySelectorAll(".gateway-scroll")].map((each) => each.scrollLeft);
  list.innerHTML = text;
  list.querySelectorAll(".gateway-scroll").forEach((each, number) => { each.scrollLeft = left[number] || 0; });
  return "running";
}

async function keepUp() {
  if (isBusy()) {
    tell("paused");
  } else {
    try {
      tell(await refresh());
    } catch {
      tell("failed");
    }
  }
  setTimeout(keepUp, interval);
}

document.getElementById("gateway-live-reload").hidden = true;
tell("running");
setTimeout(keepUp, interval);
