"use strict";
(() => {
  const map = JSON.parse(document.getElementById("places").textContent);
  const canvas = document.getElementById("placemap");
  const pen = canvas.getContext("2d");
  const panel = document.getElementById("place");
  const groups = document.getElementById("groups");
  const choice = document.getElementById("colouring");
  const bar = document.querySelector(".placemap-bar");
  const SHAPES = ["circle", "square", "diamond"];
  const MOST_NEAR = 60; // times nearer than all of it
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const looks = new Map(); // colours of the page by their names; asked for once, as asking takes time
  const style = (name) => {
    if (!looks.has(name)) looks.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    return looks.get(name);
  };

  const outline = (shapes, close) => {
    const path = new Path2D();
    for (const shape of shapes) {
      for (const line of shape.lines) {
        let x = line[0], y = line[1];
        path.moveTo(x, y);
        for (let i = 2; i < line.length; i += 2) path.lineTo(x += line[i], y += line[i + 1]);
        if (close) path.closePath();
      }
    }
    return path;
  };
  const streets = outline(map.streets, false);
  const areas = map.districts.map((district) => outline([district], true));

  let width = 0, height = 0, scale = 1, least = 1, left = 0, top = 0;
  let colouring, members = [], order = [], only = -1, chosen = -1, kept = -1, line = null, waiting = false;

  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };

  const colour = (group) => {
    const own = colouring.styles[group];
    return own ? style(own) : `hsl(${Math.round(group * 137.508 + 210) % 360} 62% ${dark.matches ? 66 : 42}%)`;
  };

  const shapeOf = (group) => (colouring.styles.length > 2 ? SHAPES[group % 3] : "circle");

  const mark = (x, y, r, shape) => {
    if (r < 2 || shape === "square") pen.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
    else if (shape === "diamond") {
      pen.moveTo(x, y - r * 1.25); pen.lineTo(x + r * 1.25, y); pen.lineTo(x, y + r * 1.25); pen.lineTo(x - r * 1.25, y); pen.closePath();
    } else { pen.moveTo(x + r, y); pen.arc(x, y, r, 0, 6.2832); }
  };

  const radius = () => Math.max(1.4, Math.min(8, (map.x.length > 3000 ? 1.5 : map.x.length > 400 ? 2.6 : 4.5) * Math.sqrt(scale / least)));

  function draw() {
    waiting = false;
    if (!width) return;
    const dots = devicePixelRatio || 1;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.setTransform(dots * scale, 0, 0, dots * scale, dots * left, dots * top);
    areas.forEach((area, place) => {
      pen.fillStyle = style(["--land", "--land-1", "--land-2", "--land-3"][(place + 1) % 4]);
      pen.fill(area, "evenodd");
      pen.strokeStyle = style("--paper");
      pen.lineWidth = 1.5 / scale;
      pen.stroke(area);
    });
    pen.strokeStyle = style("--road");
    pen.lineWidth = Math.min(2.6, (map.streets.length > 300 ? 0.6 : 1.3) * Math.sqrt(scale / least)) / scale;
    pen.lineJoin = pen.lineCap = "round";
    pen.stroke(streets);
    if (line) {
      pen.strokeStyle = style("--belief");
      pen.lineWidth = 4 / scale;
      pen.stroke(line);
    }
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    // Names lie over a crowd, but hide no single place.
    const crowd = map.x.length > 400;
    if (!crowd) names();
    const r = radius();
    for (const group of order) {
      pen.globalAlpha = only < 0 || only === group ? 0.9 : 0.08;
      pen.fillStyle = colour(group);
      pen.beginPath();
      for (const i of members[group]) {
        const x = map.x[i] * scale + left, y = map.y[i] * scale + top;
        if (x > -9 && y > -9 && x < width + 9 && y < height + 9) mark(x, y, r, shapeOf(group));
      }
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (crowd) names();
    if (chosen >= 0) {
      pen.strokeStyle = style("--ink");
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(map.x[chosen] * scale + left, map.y[chosen] * scale + top, r + 4, 0, 6.2832);
      pen.stroke();
    }
    measure();
  }

  const names = () => {
    pen.font = '600 13px system-ui, "DejaVu Sans", sans-serif';
    pen.textAlign = "center";
    pen.fillStyle = style("--soft");
    pen.strokeStyle = style("--land");
    pen.lineWidth = 3.5;
    const taken = [];
    for (const district of map.districts) {
      const x = district.x * scale + left, y = district.y * scale + top;
      const half = pen.measureText(district.name).width / 2 + 6;
      if (x < half || y < 14 || x > width - half || y > height - 6) continue;
      if (taken.some(([a, b, c]) => Math.abs(a - x) < half + c + 12 && Math.abs(b - y) < 32)) continue;
      taken.push([x, y, half]);
      pen.strokeText(district.name, x, y);
      pen.fillText(district.name, x, y);
    }
  };

  const measure = () => {
    const most = (width / 5) * map.unit_m / scale;
    const power = 10 ** Math.floor(Math.log10(most));
    const metres = power * [5, 2, 1].find((step) => step * power <= most);
    bar.firstChild.style.width = `${metres / map.unit_m * scale}px`;
    bar.lastChild.textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
  };

  const showAll = () => {
    scale = least = Math.min(width / map.width, height / map.height);
    left = (width - map.width * scale) / 2;
    top = (height - map.height * scale) / 2;
    redraw();
  };

  const move = (x, y) => {
    left = Math.min(width * 0.8, Math.max(width * 0.2 - map.width * scale, left + x));
    top = Math.min(height * 0.8, Math.max(height * 0.2 - map.height * scale, top + y));
    redraw();
  };

  const zoom = (times, x = width / 2, y = height / 2) => {
    const before = scale;
    scale = Math.min(least * MOST_NEAR, Math.max(least * 0.7, scale * times));
    left = x - (x - left) * scale / before;
    top = y - (y - top) * scale / before;
    move(0, 0);
  };

  const resize = () => {
    const dots = devicePixelRatio || 1, first = !width;
    const middle = [(width / 2 - left) / scale, (height / 2 - top) / scale, scale / least];
    ({ clientWidth: width, clientHeight: height } = canvas);
    canvas.width = width * dots;
    canvas.height = height * dots;
    showAll();
    if (!first) {
      scale *= middle[2];
      left = width / 2 - middle[0] * scale;
      top = height / 2 - middle[1] * scale;
    }
    draw(); // at once: a new size has wiped the canvas
  };

  const choose = (group) => {
    only = only === group ? -1 : group;
    for (const button of groups.children) button.setAttribute("aria-pressed", String(+button.dataset.group === only));
    redraw();
  };

  const recolour = () => {
    colouring = map.colourings[+choice.value];
    members = colouring.names.map(() => []);
    colouring.groups.forEach((group, i) => members[group].push(i));
    // Small groups are drawn last, on top.
    order = [...members.keys()].filter((group) => members[group].length).sort((a, b) => members[b].length - members[a].length);
    only = -1;
    groups.replaceChildren(...order.map((group) => {
      const button = document.createElement("button");
      const sign = document.createElement("i"), name = document.createElement("span"), number = document.createElement("b");
      button.type = "button";
      button.dataset.group = group;
      button.setAttribute("aria-pressed", "false");
      sign.className = shapeOf(group);
      sign.style.setProperty("--colour", colour(group));
      name.textContent = button.title = colouring.names[group];
      number.textContent = members[group].length;
      button.append(sign, name, number);
      button.addEventListener("click", () => choose(group));
      return button;
    }));
    redraw();
  };

  const tell = (place) => {
    if (place === chosen) return;
    chosen = place;
    const lines = place < 0 ? ["Point at a place, or press on it, to see what it is."] : map.told[place];
    panel.replaceChildren(...lines.map((text) => {
      const made = document.createElement("p");
      made.textContent = text;
      return made;
    }));
    redraw();
  };

  const nearest = (x, y, within) => {
    let best = within * within, found = -1;
    for (let i = 0; i < map.x.length; i++) {
      if (only >= 0 && colouring.groups[i] !== only) continue;
      const far = (map.x[i] * scale + left - x) ** 2 + (map.y[i] * scale + top - y) ** 2;
      if (far < best) [best, found] = [far, i];
    }
    return found;
  };

  const held = new Map(); // pointers that are down: id → [x, y]
  let moved = 0;
  const at = (event) => [event.offsetX, event.offsetY];
  const middleOf = () => {
    const [[a, b], [c, d]] = [...held.values()];
    return [(a + c) / 2, (b + d) / 2, Math.hypot(a - c, b - d)];
  };

  canvas.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, at(event));
    moved = 0;
    if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event), before = held.get(event.pointerId);
    if (before && held.size === 2) {
      const [mx, my, apart] = middleOf();
      held.set(event.pointerId, [x, y]);
      const [nx, ny, now] = middleOf();
      zoom(now / Math.max(1, apart), nx, ny);
      move(nx - mx, ny - my);
    } else if (before && event.pointerType === "mouse") {
      held.set(event.pointerId, [x, y]);
      moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
      move(x - before[0], y - before[1]);
    } else if (event.pointerType === "mouse" && kept < 0) tell(nearest(x, y, 14));
  });
  const release = (event) => held.delete(event.pointerId);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => kept < 0 && tell(-1));
  canvas.addEventListener("click", (event) => {
    if (moved > 4) return;
    kept = nearest(...at(event), 22);
    tell(kept);
  });
  canvas.addEventListener("dblclick", (event) => zoom(2, ...at(event)));
  // The page scrolls over the map until someone has taken hold of it.
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(1.0015 ** -event.deltaY, ...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: showAll,
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => (+button.dataset.zoom ? zoom(+button.dataset.zoom) : showAll()));
  }
  // Names in the tables lead to the map: their line is drawn, their places are looked at.
  for (const button of document.querySelectorAll("[data-street]")) {
    button.addEventListener("click", () => {
      const shape = map.streets.find((street) => street.name === button.dataset.street);
      if (!shape) return;
      line = outline([shape], false);
      scale = Math.min(least * MOST_NEAR, Math.max(scale, least * 4));
      left = width / 2 - shape.x * scale;
      top = height / 2 - shape.y * scale;
      redraw();
      canvas.scrollIntoView({ behavior: "smooth", block: "center" });
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    kept = -1;
    line = null;
    tell(-1);
    redraw();
  });
  choice.addEventListener("change", recolour);
  dark.addEventListener("change", () => { looks.clear(); recolour(); });
  new ResizeObserver(resize).observe(canvas);
  recolour();
})();
