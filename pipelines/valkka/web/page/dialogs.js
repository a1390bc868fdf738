/** Adding a camera, and asking before one is removed. */

import { path, send } from "/api.js";
import { say } from "/dom.js";

/** Wires the dialog that adds a camera to the buttons that open it. */
export function addCameraBy(buttons, dialog) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      form.reset();
      say(problem, "");
      dialog.showModal();
    });
  }
  dialog.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { uri, name, submit } = form.elements;
    const camera = { uri: uri.value.trim() };
    if (name.value.trim() !== "") camera.name = name.value.trim();
    submit.disabled = true;
    say(problem, "");
    try {
      await send("POST", "/api/cameras", camera);
      dialog.close();
    } catch (error) {
      say(problem, error.message);
    }
    submit.disabled = false;
  });
}

/** Asks; removes the camera if the answer is yes. Whether it is gone. */
export async function removeCamera(name, dialog) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  say(dialog.querySelector("h2"), `Remove ${name}?`);
  say(problem, "");
  dialog.showModal();
  return new Promise((answer) => {
    dialog.onclose = () => answer(dialog.returnValue === "removed");
    dialog.returnValue = "";
    dialog.querySelector("[value=cancel]").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      const { submit } = form.elements;
      submit.disabled = true;
      try {
        await send("DELETE", path`/api/cameras/${name}`);
        dialog.close("removed");
      } catch (error) {
        say(problem, error.message);
      }
      submit.disabled = false;
    };
  });
}
