"use strict";
// The buttons of the pictures: data as CSV, picture as SVG and as PNG, all from this file.
(() => {
  const pictures = new Map(JSON.parse(document.getElementById("pictures").textContent).pictures.map((p) => [p.id, p]));
  const drawn = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family"];
  // Pixels of a PNG for each of a picture's own units: 640 of them are 85 mm at 570 dots an inch.
  const DENSITY = 3;
  const save = (name, type, text) => saveBlob(name, new Blob([text], { type }));
  const saveBlob = (name, blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const cell = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const csv = (picture) => [picture.columns, ...picture.rows].map((row) => row.map(cell).join(",") + "\n").join("");
  const svg = (id) => {
    const shown = document.querySelector("#" + CSS.escape(id) + " svg");
    const copy = shown.cloneNode(true);
    // Outside of the page there is no style sheet: each mark is told what it looks like here.
    const [from, to] = [shown, copy].map((root) => [root, ...root.querySelectorAll("*")]);
    from.forEach((node, at) => {
      const style = getComputedStyle(node);
      to[at].setAttribute("style", drawn.map((key) => key + ":" + style.getPropertyValue(key)).join(";"));
    });
    const box = shown.viewBox.baseVal;
    const ground = document.createElementNS(shown.namespaceURI, "rect");
    ground.setAttribute("width", box.width);
    ground.setAttribute("height", box.height);
    ground.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
    copy.insertBefore(ground, copy.firstChild);
    copy.setAttribute("width", box.width);
    copy.setAttribute("height", box.height);
    copy.removeAttribute("class");
    return new XMLSerializer().serializeToString(copy);
  };
  const png = (id) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.width * DENSITY, image.height * DENSITY];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => saveBlob(id + ".png", blob), "image/png");
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg(id));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { csv: table, svg: picture, png: pixels } = button.dataset;
    if (table) save(table + ".csv", "text/csv;charset=utf-8", csv(pictures.get(table)));
    if (picture) save(picture + ".svg", "image/svg+xml", svg(picture));
    if (pixels) png(pixels);
    if (button.dataset.large) {
      const large = document.getElementById(button.dataset.large).classList.toggle("large");
      button.setAttribute("aria-pressed", String(large));
    }
  });
  for (const tools of document.querySelectorAll(".tools[hidden]")) tools.hidden = false;
})();
