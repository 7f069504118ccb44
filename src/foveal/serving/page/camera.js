// A photo: by the camera app of a phone, or in a dialog where the page itself may use the camera.

import { byId } from "./elements.js";

const isPhone = () => matchMedia("(pointer: coarse)").matches;

/** Connects the button; `onPhoto` is told a file. */
export function photographing(onPhoto) {
  const [dialog, video, error] = [byId("camera"), byId("video"), byId("camera-error")];
  let stream = null;

  async function open() {
    if (isPhone() || !navigator.mediaDevices?.getUserMedia) {
      const files = byId("files");
      files.setAttribute("capture", "environment");
      files.click();
      files.removeAttribute("capture");
      return;
    }
    error.textContent = "";
    dialog.showModal();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      video.srcObject = stream;
    } catch {
      error.textContent = "The camera can't be used: is there one, and does the browser allow it?";
    }
    byId("shoot").disabled = stream === null;
  }

  function close() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
  }

  function shoot() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    canvas.toBlob((blob) => blob && onPhoto(new File([blob], `photo-${time}.jpg`, { type: "image/jpeg" })), "image/jpeg", 0.92);
    dialog.close();
  }

  byId("photograph").addEventListener("click", open);
  byId("shoot").addEventListener("click", shoot);
  byId("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", close);
}
