"use strict";
(() => {
  const streets = JSON.parse(document.getElementById("beliefs").textContent);
  const map = document.getElementById("map");
  const panel = document.getElementById("belief");
  const shapes = [...map.querySelectorAll(".street")];
  const buttons = [...document.querySelectorAll("[data-show]")];
  let kept = -1;

  const element = (tag, text, name) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  };

  const show = (chosen) => {
    map.classList.toggle("chosen", chosen >= 0);
    shapes.forEach((shape) => shape.classList.remove("believed", "true"));
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(+button.dataset.show === kept)));
    panel.replaceChildren();
    if (chosen < 0) {
      panel.append(element("p", "No street chosen."));
      return;
    }
    const street = streets[chosen];
    shapes[chosen].classList.add("true");
    panel.append(element("h3", street.name), element("p", street.told));
    const list = element("ol", "");
    for (const [place, name, share, photos] of street.beliefs) {
      if (place >= 0) {
        shapes[place].classList.add("believed");
        shapes[place].style.setProperty("--share", share);
      }
      const row = element("li", "", place === chosen ? "true" : "");
      row.style.setProperty("--share", share);
      row.append(element("span", name), element("span", `${Math.round(100 * share)} % (${photos})`), element("i", ""));
      list.append(row);
    }
    panel.append(list);
  };

  const keep = (chosen) => {
    kept = kept === chosen ? -1 : chosen;
    show(kept);
  };

  shapes.forEach((shape, place) => {
    shape.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && kept < 0 && show(place));
    shape.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && kept < 0 && show(-1));
    shape.addEventListener("click", () => keep(place));
  });
  buttons.forEach((button) => button.addEventListener("click", () => {
    keep(+button.dataset.show);
    if (kept >= 0) map.scrollIntoView({ behavior: "smooth", block: "center" });
  }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && kept >= 0) keep(kept);
  });
})();
