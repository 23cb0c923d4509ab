// Heat maps: what the cell under the pointer counts.
const told = document.body.appendChild(document.createElement("p"));
told.className = "told"; told.hidden = true;
const facts = new Map([...document.querySelectorAll(".heat")].map((map) => [map, JSON.parse(map.querySelector("script").textContent)]));
function tell(event) {
  const image = event.target.closest?.(".heat image");
  told.hidden = !image;
  if (!image) return;
  const { rows, columns, told: words } = facts.get(image.closest(".heat")), box = image.getBoundingClientRect();
  const place = (at, size, count) => Math.max(0, Math.min(count - 1, Math.floor(count * at / size)));
  const row = place(event.clientY - box.top, box.height, rows.length);
  const column = place(event.clientX - box.left, box.width, columns.length);
  const name = document.createElement("b");
  name.textContent = `${rows[row]}, ${columns[column]}`;
  told.replaceChildren(name, words[row][column] || "nothing");
  told.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - told.offsetWidth - 4)) + "px";
  told.style.top = (event.clientY + 18 + told.offsetHeight > innerHeight ? event.clientY - 12 - told.offsetHeight : event.clientY + 18) + "px";
}
for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, tell);
// Unrolled recordings: the page of lanes turns when the sound comes to its edge.
for (const lanes of document.querySelectorAll(".lanes")) {
  const player = lanes.closest(".track").querySelector("audio"), view = lanes.parentElement;
  player.addEventListener("timeupdate", () => {
    const at = lanes.offsetWidth * player.currentTime / player.duration - view.scrollLeft;
    if (!player.paused && (at < 0 || at > view.clientWidth - 20)) view.scrollTo({ left: view.scrollLeft + at - 40, behavior: "smooth" });
  });
}
