// The form of a limit: shows the fields that its scope and its measure have a use for. Without it all are shown.
document.addEventListener("DOMContentLoaded", () => {
  const scope = document.getElementById("id_scope");
  const measure = document.getElementById("id_measure");
  if (!scope || !measure) return;

  const row = (name) => document.querySelector(`.field-${name}`);

  const show = (name, isShown) => {
    const found = row(name);
    if (found) found.hidden = !isShown;
  };

  const update = () => {
    const chosen = scope.value;
    for (const name of ["key", "user", "group", "header"]) show(name, chosen === name);
    show("subject", ["route", "provider", "model", "header"].includes(chosen));
    const isAtOnce = measure.value === "concurrency";
    show("window", !isAtOnce);
    show("time_zone", !isAtOnce);
    const span = document.getElementById("id_window");
    if (isAtOnce) span.value = "";
    else if (measure.value && !span.value) span.value = measure.value === "cost" ? "month" : "minute";
  };

  // Whatever is wrong must be seen, whether it has a use or not.
  if (document.querySelector(".errorlist")) return;
  scope.addEventListener("change", update);
  measure.addEventListener("change", update);
  update();
});
