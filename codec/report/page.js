"use strict";
// Players: starting one stops the others and goes on at the same place, so that two codecs compare word by word.
for (const section of document.querySelectorAll("section")) {
  const players = [...section.querySelectorAll("audio")];
  for (const player of players) {
    const track = player.closest(".track"), head = track.querySelector(".head"), view = track.querySelector(".spectrogram, .lanes");
    player.addEventListener("play", () => {
      const other = players.find((one) => one !== player && !one.paused);
      if (other) { other.pause(); player.currentTime = Math.min(other.currentTime, player.duration || 0); }
      head.classList.add("on");
      const move = () => {
        if (player.duration) head.style.left = 100 * player.currentTime / player.duration + "%";
        if (!player.paused) requestAnimationFrame(move);
      };
      move();
    });
    view.addEventListener("click", (event) => {
      const box = view.getBoundingClientRect();
      if (player.duration) player.currentTime = player.duration * (event.clientX - box.left) / box.width;
      if (player.paused) player.play();
    });
  }
}
// Pictures: a click opens the large view, where buttons or arrow keys switch between versions in the same place.
const viewer = document.getElementById("viewer"), large = viewer?.querySelector("img"), row = viewer?.querySelector(".switch");
function show(index) {
  const all = [...row.children], chosen = all[(index + all.length) % all.length];
  for (const one of all) one.setAttribute("aria-pressed", String(one === chosen));
  large.src = chosen.dataset.of; large.alt = chosen.textContent;
}
for (const button of document.querySelectorAll(".picture button")) {
  button.addEventListener("click", () => {
    const versions = [...button.closest("section").querySelectorAll(".picture button")];
    row.replaceChildren(...versions.map((version, index) => {
      const choice = document.createElement("button");
      choice.type = "button"; choice.dataset.of = version.firstElementChild.src;
      choice.textContent = version.firstElementChild.alt;
      choice.addEventListener("click", () => show(index));
      return choice;
    }));
    show(versions.indexOf(button)); viewer.showModal();
  });
}
viewer?.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer?.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) show([...row.children].findIndex((one) => one.getAttribute("aria-pressed") === "true") + step);
});
