"use strict";
// The buttons of the pictures: data as CSV, picture as SVG, both from this file.
(() => {
  const pictures = new Map(JSON.parse(document.getElementById("pictures").textContent).pictures.map((p) => [p.id, p]));
  const drawn = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family"];
  const save = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
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
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { csv: table, svg: picture } = button.dataset;
    if (table) save(table + ".csv", "text/csv;charset=utf-8", csv(pictures.get(table)));
    if (picture) save(picture + ".svg", "image/svg+xml", svg(picture));
  });
  for (const tools of document.querySelectorAll(".tools[hidden]")) tools.hidden = false;
})();
