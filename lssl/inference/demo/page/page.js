// The page of `lssl demo`. The program that serves the page computes the edits; this script draws them.

const $ = (id) => document.getElementById(id);
const token = document.querySelector('meta[name="token"]').content;
const page = crypto.randomUUID();
const REST = 220; // milliseconds without movement after which a slider counts as resting

const state = {
  limits: { megabytes: 40, megapixels: 60 },
  model: null, // as /api/model describes it
  photo: null, // as /api/photographs answers
  face: 0,
  view: null, // null: the whole photograph; else the number of a face
  base: null, // the view's picture
  values: new Map(), // face: {word: share}
  sources: {}, // group: word
  patches: new Map(), // face: {bitmap, box}
  shown: new Map(), // face: number of the newest answer that was drawn
  split: false,
  divider: 50,
  number: 0,
  open: 0, // counts photographs and models opened, so that answers about earlier ones are ignored
};

// ---- Asking

class Trouble extends Error {
  constructor(what, advice = "") {
    super(what);
    this.advice = advice;
  }
}

/** The response, or null if a newer request has replaced this one. */
async function ask(path, body, headers = {}) {
  const asked = body === undefined ? {} : { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...asked, headers: { "X-LSSL-Token": token, ...headers } });
  } catch {
    throw new Trouble("The program behind this page does not answer.", "Is “lssl demo” still running? Start it again, then reload the page.");
  }
  if (response.status === 204) return null;
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Trouble(told.what ?? "This did not work.", told.advice ?? "");
  }
  return response;
}

function complain(error) {
  if (!(error instanceof Trouble)) console.error(error);
  $("what").textContent = error instanceof Trouble ? error.message : "Something went wrong on this page.";
  $("advice").textContent = error instanceof Trouble ? error.advice : "Reload it.";
  $("trouble").hidden = false;
  say("");
}

const calm = () => ($("trouble").hidden = true);
const say = (text) => ($("status").textContent = text);

/** Does something that may fail, and shows a moving bar meanwhile. */
async function busily(text, work) {
  document.body.classList.add("busy");
  $("progress").hidden = false;
  $("frame").setAttribute("aria-busy", "true");
  say(text);
  try {
    return await work();
  } catch (error) {
    complain(error);
  } finally {
    document.body.classList.remove("busy");
    $("progress").hidden = true;
    $("frame").removeAttribute("aria-busy");
  }
}

// ---- Opening a photograph

async function openFile(file) {
  if (!file) return;
  calm();
  const { megabytes } = state.limits;
  if (file.size > megabytes * 1e6) {
    const size = Math.round(file.size / 1e6);
    return complain(new Trouble(`This file is too large: ${size} MB.`, `Up to ${megabytes} MB are accepted; save the photograph as JPEG, or make it smaller.`));
  }
  await busily("Looking for faces …", async () => {
    const headers = { "X-File-Name": encodeURIComponent(file.name ?? "photograph.png"), "X-Page": page };
    const response = await ask("/api/photographs", file, headers);
    if (!response) return;
    const photo = await response.json();
    const usable = photo.faces.findIndex((face) => !face.reason);
    if (usable < 0) throw new Trouble(photo.faces[0].reason, "Choose another photograph.");
    const [left, , right] = photo.faces[usable].box;
    const small = (right - left) * photo.width < 0.22 * Math.max(photo.width, photo.height);
    Object.assign(state, { photo, face: usable, view: small && photo.faces.length === 1 ? usable : null, values: new Map(), base: null });
    state.open += 1;
    resetSources();
    await showView();
    $("welcome").hidden = true;
    $("studio").hidden = false;
    document.title = `${photo.name} · LSSL`;
    $("size").textContent = `${photo.width} × ${photo.height} pixels.`;
    $("took").textContent = "";
    buildFaces();
    buildControls();
    say(`${photo.faces.length === 1 ? "One face was found" : `${photo.faces.length} faces were found`}. The sliders change it.`);
  });
}

async function showView() {
  const { photo, view } = state;
  const query = new URLSearchParams({ id: photo.id, ...(view === null ? {} : { face: view }) });
  const response = await ask(`/api/view?${query}`);
  const base = await createImageBitmap(await response.blob());
  if (photo !== state.photo || view !== state.view) return;
  state.base = base;
  state.patches.clear();
  for (const canvas of [$("before"), $("after")]) {
    canvas.width = base.width;
    canvas.height = base.height;
  }
  $("before").getContext("2d").drawImage(base, 0, 0);
  $("frame").style.setProperty("--ratio", base.width / base.height);
  $("zoom").setAttribute("aria-pressed", String(view !== null));
  $("faces").hidden = view !== null || photo.faces.length < 2;
  draw();
  for (const face of state.values.keys()) if (isChanged(face)) edit(face, false);
}

function draw() {
  const context = $("after").getContext("2d");
  context.drawImage(state.base, 0, 0);
  for (const { bitmap, box } of state.patches.values()) context.drawImage(bitmap, ...box);
  compare();
}

// ---- Changing a face

const valuesOf = (face) => state.values.get(face) ?? {};
const isChanged = (face) => Object.values(valuesOf(face)).some((share) => share > 0);
const sources = () => Object.values(state.sources).filter(Boolean);
const wish = (values) => ({ model: state.model.name, values, source: sources() });

/** Requests a face as its sliders say; of several requests under way the newest wins, here and on the server. */
async function edit(face, draft) {
  const number = (state.number += 1);
  const { photo, view, open } = state;
  if (!isChanged(face)) {
    state.shown.set(face, number);
    state.patches.delete(face);
    draw();
  }
  const started = performance.now();
  const question = { id: photo.id, face, view, draft, number, page, ...wish(valuesOf(face)) };
  try {
    const response = await ask("/api/edit", question);
    if (!response) return;
    const box = response.headers.get("X-Box");
    const bitmap = box ? await createImageBitmap(await response.blob()) : null;
    if (open !== state.open || view !== state.view || number < (state.shown.get(face) ?? 0)) return;
    state.shown.set(face, number);
    if (bitmap) state.patches.set(face, { bitmap, box: box.split(",").map(Number) });
    else state.patches.delete(face);
    draw();
    $("frame").dataset.drawn = number;
    if (isChanged(face)) $("took").textContent = `Changed in ${Math.round(performance.now() - started)} ms.`;
    if (!draft) say(`Changed: ${describe(face)}`);
  } catch (error) {
    if (open === state.open) complain(error);
  }
}

let resting = 0;
let waiting = false;

/** At each movement requests a draft, at most one per frame of the screen; once the slider rests, full resolution. */
function changed(face) {
  clearTimeout(resting);
  resting = setTimeout(() => edit(face, false), REST);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    edit(face, true);
  });
}

function setValue(word, share) {
  const values = { ...valuesOf(state.face) };
  if (share > 0) values[word] = share;
  else delete values[word];
  state.values.set(state.face, values);
  calm();
  reflect();
  changed(state.face);
}

/** A tile was chosen: of its group, only this value, at full strength. */
function choose(group, word) {
  const values = { ...valuesOf(state.face) };
  for (const value of group.values) delete values[value.word];
  if (word) values[word] = 1;
  state.values.set(state.face, values);
  calm();
  reflect();
  clearTimeout(resting);
  edit(state.face, false);
}

function describe(face) {
  const parts = Object.entries(valuesOf(face)).map(([word, share]) => `${word} ${Math.round(100 * share)}%`);
  return parts.join(", ") || "as it was";
}

// ---- Sliders and thumbnails

function resetSources() {
  state.sources = Object.fromEntries((state.model?.groups ?? []).map((group) => [group.name, group.source]));
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function buildControls() {
  const { model } = state;
  if (!model || !state.photo) return;
  $("about").textContent = model.about;
  $("sliders").replaceChildren(...model.groups.map(sliderGroup));
  $("strips").replaceChildren(...model.groups.map(strip));
  reflect();
  fillThumbnails();
}

function sliderGroup(group, index) {
  const set = make("fieldset", {}, make("legend", { textContent: group.name }));
  const select = make("select", { id: `shows-${index}` });
  if (state.model.reads) select.append(make("option", { value: "", textContent: "automatic" }));
  for (const { word, label } of group.sources) select.append(make("option", { value: word, textContent: label }));
  select.value = state.sources[group.name];
  select.onchange = () => {
    state.sources[group.name] = select.value;
    fillThumbnails();
    for (const face of state.values.keys()) if (isChanged(face)) edit(face, false);
  };
  set.append(make("div", { className: "shows" }, make("label", { htmlFor: select.id, textContent: "The photograph shows" }), select));
  group.values.forEach(({ word, label }, k) => {
    const id = `slider-${index}-${k}`;
    const input = make("input", { type: "range", id, min: 0, max: 150, step: 5, value: 0 });
    input.dataset.word = word;
    input.oninput = () => setValue(word, input.value / 100);
    set.append(make("div", { className: "slider" }, make("label", { htmlFor: id, textContent: label, title: label }), input, make("output", { htmlFor: id, textContent: "0%" })));
  });
  return set;
}

function strip(group, index) {
  const row = make("div", { className: "strip" });
  row.setAttribute("role", "radiogroup");
  row.setAttribute("aria-label", `${group.name}: one at full strength`);
  for (const { word, label } of [{ word: "", label: "as it was" }, ...group.values]) {
    const input = make("input", { type: "radio", name: `strip-${index}`, value: word });
    input.dataset.group = index;
    input.onchange = () => choose(group, word);
    row.append(make("label", { className: "tile" }, input, make("b", {}, make("img", { alt: "" })), make("span", { textContent: label })));
  }
  return row;
}

/** Shows the face's values in sliders and tiles. */
function reflect() {
  const values = valuesOf(state.face);
  for (const input of $("sliders").querySelectorAll("input")) {
    const share = Math.round(100 * (values[input.dataset.word] ?? 0));
    input.value = share;
    input.style.setProperty("--at", `${(share / 150) * 100}%`);
    input.setAttribute("aria-valuetext", `${share} percent`);
    input.parentElement.classList.toggle("on", share > 0);
    input.nextElementSibling.textContent = `${share}%`;
  }
  for (const input of $("strips").querySelectorAll("input")) {
    const group = state.model.groups[input.dataset.group];
    const on = group.values.filter(({ word }) => values[word] > 0);
    input.checked = input.value ? on.length === 1 && on[0].word === input.value : on.length === 0;
    if (input.checked) bringIntoView(input.parentElement);
  }
  $("reset").disabled = !isChanged(state.face);
}

/** Scrolls a strip, but never the page, to one of its tiles. */
function bringIntoView(tile) {
  const strip = tile.parentElement;
  const over = tile.getBoundingClientRect().right - strip.getBoundingClientRect().right;
  const under = strip.getBoundingClientRect().left - tile.getBoundingClientRect().left;
  strip.scrollLeft += Math.max(0, over) - Math.max(0, under);
}

let filling = 0;

/** Fills the thumbnails one after another, after the sliders' requests; stops if another face, model or source is chosen. */
async function fillThumbnails() {
  const mine = (filling += 1);
  const { photo, face } = state;
  for (const input of $("strips").querySelectorAll("input")) {
    const values = input.value ? { [input.value]: 1 } : {};
    try {
      const response = await ask("/api/thumbnail", { id: photo.id, face, page, ...wish(values) });
      if (mine !== filling) return;
      if (response) showPicture(input.parentElement.querySelector("img"), await response.blob());
    } catch (error) {
      if (mine === filling) complain(error);
      return;
    }
  }
}

function showPicture(image, blob) {
  const url = URL.createObjectURL(blob);
  image.onload = () => {
    image.classList.add("here");
    URL.revokeObjectURL(url);
  };
  image.src = url;
}

// ---- Several faces

function buildFaces() {
  const { faces } = state.photo;
  const usable = faces.filter((face) => !face.reason).length;
  $("several").hidden = faces.length < 2;
  $("several").textContent = usable > 1 ? `${faces.length} faces: choose one in the photograph. Each keeps its own changes.` : "One of the faces can be changed.";
  $("faces").replaceChildren(
    ...faces.map(({ box: [left, top, right, bottom], reason }, face) => {
      const button = make("button", { type: "button", title: reason, className: reason ? "no" : "" });
      button.setAttribute("aria-label", `Face ${face + 1} of ${faces.length}${reason ? `. ${reason}` : ""}`);
      button.setAttribute("aria-pressed", String(face === state.face));
      Object.assign(button.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
      button.onclick = () => (reason ? complain(new Trouble(reason, "Choose another face.")) : chooseFace(face));
      return button;
    }),
  );
  $("faces").hidden = faces.length < 2 || state.view !== null;
}

function chooseFace(face) {
  calm();
  state.face = face;
  [...$("faces").children].forEach((button, k) => button.setAttribute("aria-pressed", String(k === face)));
  for (const image of $("strips").querySelectorAll("img")) image.classList.remove("here");
  reflect();
  fillThumbnails();
  say(`Face ${face + 1} is chosen.`);
}

// ---- Before and after

function compare() {
  const { split, divider } = state;
  $("after").style.clipPath = split ? `inset(0 0 0 ${divider}%)` : "";
  for (const id of ["divider", "tag-before", "tag-after"]) $(id).hidden = !split;
  $("divider").style.left = `${divider}%`;
  $("divider").setAttribute("aria-valuenow", Math.round(divider));
  $("divider").setAttribute("aria-valuetext", `${Math.round(divider)} percent before`);
  $("split").setAttribute("aria-pressed", String(split));
  $("hold").disabled = split;
}

function moveDivider(percent) {
  state.divider = Math.min(100, Math.max(0, percent));
  compare();
}

$("divider").onpointerdown = (event) => {
  $("divider").setPointerCapture(event.pointerId);
  event.stopPropagation();
};
$("divider").onpointermove = (event) => {
  if (!$("divider").hasPointerCapture(event.pointerId)) return;
  const frame = $("frame").getBoundingClientRect();
  moveDivider((100 * (event.clientX - frame.left)) / frame.width);
};
$("divider").onkeydown = (event) => {
  const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  moveDivider(state.divider + step);
};
$("split").onclick = () => {
  state.split = !state.split;
  compare();
  if (state.split) $("divider").focus({ preventScroll: true });
};

function hold(on) {
  $("frame").classList.toggle("before", on && !state.split);
  $("hold").classList.toggle("down", on && !state.split);
}
for (const element of [$("hold"), $("frame")]) {
  element.addEventListener("pointerdown", (event) => event.button === 0 && hold(true));
  element.addEventListener("contextmenu", (event) => element === $("hold") && event.preventDefault());
}
for (const end of ["pointerup", "pointercancel", "blur"]) window.addEventListener(end, () => hold(false));
$("hold").addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && hold(true));
$("hold").addEventListener("keyup", () => hold(false));
$("hold").addEventListener("blur", () => hold(false));

$("zoom").onclick = () => {
  state.view = state.view === null ? state.face : null;
  busily("", showView);
};

// ---- Buttons

$("reset").onclick = () => {
  state.values.set(state.face, {});
  reflect();
  clearTimeout(resting);
  edit(state.face, false);
};

$("dismiss").onclick = calm;

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("download").onclick = () =>
  busily("Editing the photograph at full size …", async () => {
    calm();
    $("download").disabled = true;
    try {
      const faces = {};
      for (const face of state.values.keys()) if (isChanged(face)) faces[face] = wish(valuesOf(face));
      const response = await ask("/api/finished", { id: state.photo.id, kind: $("kind").value, faces, page });
      if (!response) return;
      const name = decodeURIComponent(response.headers.get("X-File-Name"));
      save(await response.blob(), name);
      say(`${name} was downloaded.`);
    } finally {
      $("download").disabled = false;
    }
  });

let front = null; // {blob, name}

$("frontal").onclick = async () => {
  calm();
  const { photo, face } = state;
  front = null;
  $("front-wait").hidden = false;
  $("front-picture").hidden = $("doubt").hidden = $("front-download").disabled = true;
  $("front").showModal();
  drawOwn(face);
  try {
    const response = await ask("/api/frontal", { id: photo.id, face, page });
    if (!response || photo !== state.photo || face !== state.face) return;
    const blob = await response.blob();
    front = { blob, name: `${photo.name}_frontal.png` };
    const doubt = decodeURIComponent(response.headers.get("X-Doubt"));
    showPicture($("front-picture"), blob);
    $("front-wait").hidden = true;
    $("front-picture").hidden = $("front-download").disabled = false;
    $("doubt").hidden = !doubt;
    $("doubt").textContent = `It may look wrong: ${doubt}.`;
    say("The face is turned to the front.");
  } catch (error) {
    $("front").close();
    complain(error);
  }
};

/** Draws the photograph's face, as a square, next to its frontal view. */
async function drawOwn(face) {
  const response = await ask(`/api/view?${new URLSearchParams({ id: state.photo.id, face })}`);
  const seen = await createImageBitmap(await response.blob());
  const side = Math.min(seen.width, seen.height);
  Object.assign($("own"), { width: side, height: side });
  $("own").getContext("2d").drawImage(seen, (side - seen.width) / 2, (side - seen.height) / 2);
}

$("front-download").onclick = () => front && save(front.blob, front.name);
for (const button of document.querySelectorAll("[data-close]")) button.onclick = () => button.closest("dialog").close();

$("file").onchange = () => {
  openFile($("file").files[0]);
  $("file").value = "";
};
$("sample").onclick = async () => {
  try {
    const blob = await (await ask("/api/sample")).blob();
    await openFile(new File([blob], "astronaut.png", { type: blob.type }));
  } catch (error) {
    complain(error);
  }
};
const actions = { choose: () => $("file").click(), camera: openCamera };
for (const button of document.querySelectorAll("[data-do]")) button.onclick = actions[button.dataset.do];

// ---- Dropping and pasting

let inside = 0;
const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
window.addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  inside += 1;
  document.body.classList.add("dragging");
});
window.addEventListener("dragleave", () => {
  inside = Math.max(0, inside - 1);
  if (!inside) document.body.classList.remove("dragging");
});
window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
window.addEventListener("drop", (event) => {
  inside = 0;
  document.body.classList.remove("dragging");
  if (!hasFiles(event)) return;
  event.preventDefault();
  openFile(event.dataTransfer.files[0]);
});
window.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) openFile(file);
});

// ---- Camera

let stream = null;

async function openCamera() {
  calm();
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, height: { ideal: 1440 }, facingMode: "user" } });
  } catch (error) {
    const refused = error.name === "NotAllowedError";
    return complain(
      refused
        ? new Trouble("The browser may not use the camera.", "Allow it next to the page's address, then try again, or choose a photograph.")
        : new Trouble("No camera can be used.", "Check that one is connected and that no other program is using it, or choose a photograph."),
    );
  }
  $("video").srcObject = stream;
  $("video").onloadeddata = () => ($("shoot").disabled = false);
  $("camera").showModal();
}

$("camera").addEventListener("close", () => {
  stream?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = stream = null;
  $("shoot").disabled = true;
});
$("shoot").onclick = () => {
  const video = $("video");
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  $("camera").close();
  canvas.toBlob((blob) => openFile(new File([blob], "camera.jpg", { type: blob.type })), "image/jpeg", 0.95);
};

// ---- Models

async function loadModel(name) {
  const response = await ask(`/api/model?${new URLSearchParams({ name })}`);
  if (!response) return;
  state.model = await response.json();
  state.values = new Map();
  state.patches.clear();
  state.open += 1;
  resetSources();
  if (state.base) draw();
  $("took").textContent = "";
  buildControls();
}

$("model").onchange = () => {
  const before = state.model?.name;
  calm();
  busily("Loading the model …", async () => {
    try {
      await loadModel($("model").value);
    } catch (error) {
      $("model").value = before;
      throw error;
    }
  });
};

busily("", async () => {
  const { models, limits } = await (await ask("/api/models")).json();
  state.limits = limits;
  $("model").replaceChildren(...models.map(({ name, title }) => make("option", { value: name, textContent: title })));
  await loadModel(models[0].name);
  $("model").disabled = false;
});
