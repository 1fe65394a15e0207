// The page of `raymark view`. What is seen comes from the server (frames.py): this script asks for it,
// one request at a time and always for the newest view, and draws landmarks where the server says.
"use strict";

const LIVE_PX = 300; // along the longer side while something moves
const SETTLED_MS = 120; // without a change, before the whole image is asked for
const TURN_DEG_PER_PX = 0.35;
const NEAR_SLICE_MM = 6; // landmarks so close to a slice are drawn on it
const ACCENT = "#e69f00", FOUND = "#56b4e9", FAINT = "#7d8790";
const FONT = "12px system-ui, 'DejaVu Sans', sans-serif";
const AXES = { sagittal: [0, 1, 2], coronal: [1, 0, 2], axial: [2, 0, 1] }; // slice, column, row

const $ = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const wrapped = (degrees) => ((degrees + 180) % 360 + 360) % 360 - 180;

let known; // what the server told at the start
let view; // what is asked for: the keys of `Asked`
let pose = null; // the number of the registered pose that is shown instead, or null
let frame = null; // the last frame's JSON
let found = null; // the model's detections in the view at rest
let chosen = null; // the number of a landmark
let plan = null; // the view set about this view: {yaml, views}
let current = null; // [view set, number] of the planned view that is shown
let at; // the voxel (x, y, z) that all slices go through

// ------------------------------------------------------------------------------------ the server

async function ask(name, values) {
  const answer = await fetch(name, values && { method: "POST", body: JSON.stringify(values) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const asked = (more) => ({ ...view, pose, ...more });

let changes = 0; // counts them: an answer to an older view at rest is dropped
let waiting = false, flying = 0, newest = 0, settling = 0;
const times = []; // when the last frames were drawn

function changed() {
  changes += 1;
  waiting = true;
  found = plan = null;
  clearTimeout(settling);
  pump();
}

async function pump() { // at most two requests at a time: one is rendered while one is drawn
  if (flying === 2 || !waiting) return;
  waiting = false;
  flying += 1;
  const number = changes;
  try {
    const next = show(asked({ live: true, longest_px: LIVE_PX }), () => number > newest);
    fill(); // while the server works
    drawSphere();
    if (await next) times.push(performance.now());
    newest = Math.max(newest, number);
    if (times.length > 60) times.shift();
  } catch (error) {
    complain(error);
  }
  flying -= 1;
  tell(true);
  if (waiting) return pump();
  clearTimeout(settling);
  settling = setTimeout(settle, SETTLED_MS);
}

async function settle() {
  const number = changes, still = () => number === changes;
  try {
    await show(asked({ longest_px: clamp(Math.max(...frame.detector_px), 16, 1600) }), still);
    if (!still()) return;
    newest = number; // no live frame comes after it
    tell(false);
    if (pose === null) {
      const around = { primary_deg: +$("#around-primary").value, secondary_deg: +$("#around-secondary").value,
        count: +$("#around-count").value, isocentre: isocentreName() };
      const told = await (await ask("view-set", { view: asked(), around })).json();
      if (still()) plan = told;
      drawSphere();
    }
    if (known.model && $("#show-found").checked) {
      const told = await (await ask("detections", asked())).json();
      if (still()) found = told;
      drawOver();
      list();
    }
  } catch (error) {
    if (still()) complain(error);
  }
}

async function show(values, wanted) {
  const bytes = await (await ask("frame", values)).arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  const picture = await createImageBitmap(new Blob([new Uint8Array(bytes, 4 + length)], { type: "image/jpeg" }));
  if (!wanted()) return false;
  frame = { ...told, picture, live: Boolean(values.live) };
  $("#problem").hidden = true;
  draw();
  if (!frame.live) list();
  return true;
}

function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

// ------------------------------------------------------------------------------------- the X-ray

function placed() { // where the image lies on the stage, in CSS px
  const { clientWidth: width, clientHeight: height } = $("#stage");
  const [w, h] = frame.detector_px;
  const scale = Math.min(width / w, height / h);
  return { x: (width - w * scale) / 2, y: (height - h * scale) / 2, width: w * scale, height: h * scale, scale };
}

function sized(canvas, width, height) { // empty, and sharp on any screen; drawn in CSS px
  const ratio = window.devicePixelRatio || 1, context = canvas.getContext("2d");
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    [canvas.width, canvas.height] = [w, h];
    [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function draw() {
  const { clientWidth, clientHeight } = $("#stage"), place = placed();
  const context = sized($("#xray"), clientWidth, clientHeight);
  context.imageSmoothingQuality = frame.live ? "low" : "high";
  context.drawImage(frame.picture, place.x, place.y, place.width, place.height);
  const real = $("#real"), shown = pose !== null && known.poses[pose].xray;
  real.hidden = !shown;
  if (shown) {
    const source = `xray?index=${pose}`;
    if (real.getAttribute("src") !== source) real.setAttribute("src", source);
    Object.assign(real.style, { left: `${place.x}px`, top: `${place.y}px`, width: `${place.width}px`,
      height: `${place.height}px`, opacity: 1 - $("#blend").value / 100 });
  }
  drawOver();
  const stage = $("#stage").dataset; // what is seen, for whoever wants to read it
  [stage.primary, stage.secondary, stage.live] = [frame.primary_deg, frame.secondary_deg, frame.live];
}

function onStage(x, y) { // from px of the frame
  const place = placed();
  return [place.x + (x + 0.5) / frame.width_px * place.width, place.y + (y + 0.5) / frame.height_px * place.height];
}

function drawOver() {
  if (!frame) return;
  const { clientWidth, clientHeight } = $("#stage");
  const context = sized($("#over"), clientWidth, clientHeight), place = placed();
  const taken = [[0, 0, 290, 34], [clientWidth - 175, clientHeight - 45, clientWidth, clientHeight]]; // captions
  if ($("#show-landmarks").checked) {
    const depths = frame.depth_mm, near = Math.min(...depths), far = Math.max(...depths);
    const order = depths.map((_, i) => i).filter((i) => frame.visible[i]).sort((a, b) => (b === chosen) - (a === chosen));
    const points = order.map((i) => onStage(...frame.points_px[i]));
    points.forEach(([x, y], k) => taken.push([x - 7, y - 7, x + 7, y + 7, k]));
    order.forEach((i, k) => {
      const [x, y] = points[k], radius = 3.5 + 3 * (depths[i] - near) / (far - near || 1);
      ring(context, x, y, radius, i === chosen ? "#fff" : ACCENT);
      if ($("#show-names").checked || i === chosen) label(context, known.landmarks[i].title, x, y, k, taken, place, i === chosen);
    });
  }
  for (const each of found && $("#show-found").checked ? found.found : []) {
    cross(context, place.x + each.x * place.width, place.y + each.y * place.height, FOUND);
  }
  captions(place);
}

function ring(context, x, y, radius, colour) {
  for (const [width, style] of [[4, "#000a"], [1.7, colour]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    [context.lineWidth, context.strokeStyle] = [width, style];
    context.stroke();
  }
}

function cross(context, x, y, colour) {
  for (const [width, style] of [[4, "#000a"], [1.7, colour]]) {
    context.beginPath();
    for (const [a, b] of [[-5, -5], [-5, 5]]) {
      context.moveTo(x + a, y + b);
      context.lineTo(x - a, y - b);
    }
    [context.lineWidth, context.strokeStyle] = [width, style];
    context.stroke();
  }
}

const widths = {}; // of labels, in px

function label(context, text, x, y, own, taken, place, always) { // where there is room beside the point; else none
  context.font = FONT;
  const width = widths[text] ??= context.measureText(text).width, away = 10;
  const spots = [[x + away, y - 8], [x - away - width, y - 8], [x - width / 2, y - 24], [x - width / 2, y + 9],
    [x + away, y - 20], [x + away, y + 5], [x - away - width, y - 20], [x - away - width, y + 5]];
  for (const [left, top] of spots) {
    const box = [left - 2, top, left + width + 2, top + 15];
    const free = always || taken.every(([a, b, c, d, k]) => k === own || box[2] < a || box[0] > c || box[3] < b || box[1] > d);
    const within = box[0] > place.x && box[2] < place.x + place.width && box[1] > place.y && box[3] < place.y + place.height;
    if (!free || !within) continue;
    taken.push(box);
    [context.lineWidth, context.strokeStyle, context.fillStyle] = [3, "#000b", "#f0e3c8"];
    context.lineJoin = "round";
    context.strokeText(text, left, top + 11.5);
    context.fillText(text, left, top + 11.5);
    return;
  }
}

function captions(place) {
  const named = (value, plus, minus) => `${Math.abs(value) < 0.05 ? `${plus}/${minus}` : value > 0 ? plus : minus} ${Math.abs(value).toFixed(1)}°`;
  $("#angles").textContent = `${named(frame.primary_deg, "LAO", "RAO")}    ${named(frame.secondary_deg, "CRAN", "CAUD")}`;
  // The side letters hold near AP and PA alone, where the patient's left and right are across the image.
  const across = Math.cos(frame.primary_deg * Math.PI / 180) * Math.cos(frame.secondary_deg * Math.PI / 180);
  const mirrored = (across < 0) !== (view.flip && pose === null);
  all(".side").forEach((side) => { side.hidden = Math.abs(across) < 0.5 || Math.abs(view.roll_deg) > 45; });
  [$("#side-left").textContent, $("#side-right").textContent] = mirrored ? ["L", "R"] : ["R", "L"];
  const mm = [10, 20, 50, 100, 200].find((n) => n / frame.at_isocentre_mm * place.scale > 60) || 200;
  $("#scale i").style.width = `${mm / frame.at_isocentre_mm * place.scale}px`;
  $("#scale span").textContent = `${mm} mm at the isocentre`;
}

function turn(primary, secondary) { // by degrees
  leavePose();
  view.primary_deg = round(wrapped(view.primary_deg + primary), 2);
  view.secondary_deg = round(clamp(view.secondary_deg + secondary, -90, 90), 2);
  current = null;
  changed();
}

const round = (value, digits) => Number(value.toFixed(digits));

function leavePose() {
  if (pose === null) return;
  view.primary_deg = round(known.poses[pose].primary_deg, 2);
  view.secondary_deg = round(known.poses[pose].secondary_deg, 2);
  pose = null;
}

function dragged(element, byDegrees, tapped) { // the body follows the hand: its front moves with it
  let last = null, moved = 0;
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault(); // no text is selected on the way
    element.focus({ focusVisible: false });
    element.setPointerCapture(event.pointerId);
    [last, moved] = [[event.clientX, event.clientY], 0];
  });
  element.addEventListener("pointermove", (event) => {
    if (!last) return;
    const [x, y] = [event.clientX - last[0], event.clientY - last[1]];
    last = [event.clientX, event.clientY];
    moved += Math.abs(x) + Math.abs(y);
    if (x || y) turn(-x * byDegrees * (view.flip ? -1 : 1), y * byDegrees);
  });
  const end = (event) => {
    if (last && moved < 3 && event.type === "pointerup") tapped(event);
    last = null;
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}

function tapImage(event) { // chooses the landmark there
  if (!frame || !$("#show-landmarks").checked) return;
  const box = $("#stage").getBoundingClientRect();
  const away = frame.points_px.map((p, i) => {
    if (!p || !frame.visible[i]) return Infinity;
    const [x, y] = onStage(...p);
    return Math.hypot(x - event.clientX + box.left, y - event.clientY + box.top);
  });
  const nearest = away.indexOf(Math.min(...away));
  choose(away[nearest] < 14 ? nearest : null);
}

function zoom(factor) {
  leavePose();
  view.field_of_view_share = round(clamp(view.field_of_view_share * factor, 0.1, 1), 3);
  changed();
}

// ------------------------------------------------------------------------------------ the sphere

function direction(primary, secondary) { // where the detector stands: `carm_rotation`'s z, RAS
  const [a, b] = [primary, secondary].map((degrees) => degrees * Math.PI / 180);
  return [-Math.sin(a) * Math.cos(b), Math.cos(a) * Math.cos(b), Math.sin(b)];
}

function globe() { // the sphere as the detector sees it: the shown view is its middle
  const canvas = $("#sphere"), [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [a, b] = pose === null ? [view.primary_deg, view.secondary_deg]
    : [known.poses[pose].primary_deg, known.poses[pose].secondary_deg];
  const z = direction(a, b), up = direction(a, b + 90), right = direction(a + 90, 0);
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const radius = Math.min(width, height) / 2 - 9;
  const mirror = view.flip && pose === null ? -1 : 1;
  return { width, height, radius, seen: (d) => ({ x: width / 2 + mirror * radius * dot(right, d), y: height / 2 - radius * dot(up, d), front: dot(z, d) > 0.02 }) };
}

function pointsOnSphere() { // what can be clicked
  const set = known.view_sets[$("#view-sets").value];
  const planned = (set ? set.views : []).map((v, i) => ({ ...v, kind: "planned", number: i }));
  return [...planned, ...known.poses.map((p, i) => ({ ...p, kind: "pose", number: i }))];
}

function drawSphere() {
  const { width, height, radius, seen } = globe(), context = sized($("#sphere"), width, height);
  context.beginPath();
  context.arc(width / 2, height / 2, radius, 0, 2 * Math.PI);
  context.fillStyle = "#0f1214";
  context.fill();
  context.strokeStyle = "#4a535b";
  context.stroke();
  const line = (at) => {
    context.beginPath();
    let before = false;
    for (let t = 0; t <= 36; t += 1) {
      const p = seen(at(t / 36));
      if (p.front) context[before ? "lineTo" : "moveTo"](p.x, p.y);
      before = p.front;
    }
    context.stroke();
  };
  for (let degrees = -180; degrees < 180; degrees += 30) {
    context.strokeStyle = degrees % 90 ? "#23292e" : "#3d464e";
    line((t) => direction(degrees, 180 * t - 90));
    if (Math.abs(degrees) < 90) {
      context.strokeStyle = degrees ? "#23292e" : "#3d464e";
      line((t) => direction(360 * t, degrees));
    }
  }
  const dot = (p, size, colour) => {
    if (!p.front) return;
    context.beginPath();
    context.arc(p.x, p.y, size, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
  };
  for (const [a, b] of plan && plan.views.length > 1 ? plan.views : []) dot(seen(direction(a, b)), 1.7, ACCENT);
  for (const each of pointsOnSphere()) {
    const p = seen(direction(each.primary_deg, each.secondary_deg));
    const here = each.kind === "planned" && current && current[0] === $("#view-sets").value && current[1] === each.number;
    dot(p, each.kind === "pose" ? 4.5 : here ? 3.6 : 2.4, each.kind === "pose" ? FOUND : here ? "#fff" : "#a9b3bb");
  }
  context.font = FONT;
  context.textAlign = "center";
  for (const [text, ...angles] of [["AP", 0, 0], ["PA", 180, 0], ["LAO 90", 90, 0], ["RAO 90", -90, 0], ["head", 0, 90], ["feet", 0, -90]]) {
    const p = seen(direction(...angles));
    if (!p.front) continue;
    [context.lineWidth, context.strokeStyle, context.fillStyle] = [3, "#0f1214", FAINT];
    const place = [clamp(p.x, 30, width - 30), Math.max(p.y - 5, 12)];
    context.strokeText(text, ...place);
    context.fillText(text, ...place);
  }
  [context.lineWidth, context.strokeStyle] = [1.5, "#fff"];
  context.beginPath();
  context.arc(width / 2, height / 2, 6, 0, 2 * Math.PI);
  context.stroke();
  context.lineWidth = 1;
  const set = known.view_sets[$("#view-sets").value];
  const own = plan && plan.views.length > 1 ? `${$("#around-count").value} around this view` : "";
  const of = set ? `${set.views.length < set.count ? `${set.views.length} of ` : ""}${set.count} planned` : "";
  $("#planned").textContent = [of, own].filter(Boolean).join(" · ") || "no planned views";
}

function tapSphere(event) {
  const box = $("#sphere").getBoundingClientRect(), { seen } = globe();
  let best = null, least = 12;
  for (const each of pointsOnSphere()) {
    const p = seen(direction(each.primary_deg, each.secondary_deg));
    const away = Math.hypot(p.x - event.clientX + box.left, p.y - event.clientY + box.top);
    if (p.front && away < least) [best, least] = [each, away];
  }
  if (best) best.kind === "pose" ? goToPose(best.number) : goToPlanned(best.number);
}

function goToPlanned(number) {
  const name = $("#view-sets").value, set = known.view_sets[name];
  if (!set) return;
  const there = set.views[(number + set.views.length) % set.views.length];
  const { view: _, ...settings } = there;
  pose = null;
  Object.assign(view, settings, { primary_deg: wrapped(there.primary_deg), field_of_view_share: set.field_of_view_share });
  current = [name, set.views.indexOf(there)];
  changed();
}

function goToPose(number) {
  pose = number;
  current = null;
  changed();
}

// ------------------------------------------------------------------------------------ the slices

const pictures = {}; // by kind: the newest slice's {index, image}

function drawSlices() {
  for (const figure of all("figure")) drawSlice(figure);
}

function drawSlice(figure) {
  const kind = figure.dataset.kind, [axis, column, row] = AXES[kind];
  const canvas = figure.querySelector("canvas"), { shape, spacing_mm: spacing } = known.grid;
  const index = Math.round(at[axis]), picture = pictures[kind] ||= {};
  if (picture.index !== index) {
    picture.index = index;
    const image = new Image();
    image.onload = () => { if (pictures[kind].index === index) { picture.image = image; drawSlice(figure); } };
    image.src = `slice?kind=${kind}&index=${index}`;
  }
  const width = figure.clientWidth, height = figure.clientHeight, context = sized(canvas, width, height);
  const place = sliceOn(figure);
  if (picture.image) {
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.image, place.left, place.top, place.width, place.height);
  }
  const onSlice = (v) => [place.left + (shape[column] - 0.5 - v[column]) * place.scale * spacing[column],
    place.top + (shape[row] - 0.5 - v[row]) * place.scale * spacing[row]];
  const [x, y] = onSlice(at);
  context.strokeStyle = "#ffffff40";
  context.beginPath();
  context.moveTo(x, place.top); context.lineTo(x, place.top + place.height);
  context.moveTo(place.left, y); context.lineTo(place.left + place.width, y);
  context.stroke();
  known.grid.landmarks.forEach((v, i) => {
    const away = Math.abs(v[axis] - at[axis]) * spacing[axis];
    if (away <= NEAR_SLICE_MM || i === chosen && away < spacing[axis]) ring(context, ...onSlice(v), 4, i === chosen ? "#fff" : ACCENT);
  });
  figure.querySelector("figcaption").textContent = `${kind} ${index + 1} of ${shape[axis]}`;
}

function sliceOn(figure) { // where a slice lies in its figure: `scale` px for a mm
  const [, column, row] = AXES[figure.dataset.kind], { shape, spacing_mm: spacing } = known.grid;
  const [wide, tall] = [shape[column] * spacing[column], shape[row] * spacing[row]];
  const scale = Math.min(figure.clientWidth / wide, figure.clientHeight / tall);
  return { scale, width: wide * scale, height: tall * scale, left: (figure.clientWidth - wide * scale) / 2, top: (figure.clientHeight - tall * scale) / 2 };
}

function goTo(voxel) {
  at = voxel.map((v, axis) => clamp(v, 0, known.grid.shape[axis] - 1));
  drawSlices();
}

function throughSlices(figure, steps) {
  const axis = AXES[figure.dataset.kind][0];
  goTo(at.map((v, i) => i === axis ? Math.round(v) + steps : v));
}

function tapSlice(figure, event) {
  const [, column, row] = AXES[figure.dataset.kind], { shape, spacing_mm: spacing } = known.grid;
  const box = figure.getBoundingClientRect(), place = sliceOn(figure), voxel = [...at];
  voxel[column] = shape[column] - 0.5 - (event.clientX - box.left - place.left) / place.scale / spacing[column];
  voxel[row] = shape[row] - 0.5 - (event.clientY - box.top - place.top) / place.scale / spacing[row];
  goTo(voxel);
}

// ------------------------------------------------------------------------------ landmarks, fields

function choose(number) {
  chosen = number;
  if (number !== null) goTo(known.grid.landmarks[number]);
  else drawSlices();
  drawOver();
  list();
  const row = $("tr.chosen");
  if (row) row.scrollIntoView({ block: "nearest" });
}

function list() {
  const errors = found && Object.fromEntries(found.found.map((f) => [f.landmark, f.error_px]));
  known.landmarks.forEach((landmark, i) => {
    const row = $("#landmarks").rows[i], seen = frame && frame.visible[i];
    row.className = `${i === chosen ? "chosen" : ""} ${seen ? "" : "outside"}`;
    row.cells[1].textContent = !frame ? "" : seen ? frame.depth_mm[i].toFixed(0) : "outside";
    const error = errors && errors[landmark.name];
    row.cells[2].textContent = !errors || !seen ? "" : error === undefined || error === null ? "not found" : error.toFixed(1);
  });
  const seen = frame ? frame.visible.filter(Boolean).length : 0;
  $("#count").textContent = known.landmarks.length ? `${seen} of ${known.landmarks.length} on the image` : "none";
}

function fill() { // the fields say what is shown
  const { primary_deg, secondary_deg } = pose === null ? view : known.poses[pose];
  const shown = { ...view, primary_deg: round(primary_deg, 2), secondary_deg: round(secondary_deg, 2) };
  for (const field of all("[data-key]")) {
    const [first, second] = field.dataset.key.split("."), value = second ? shown[first][second] : shown[first];
    if (field.type === "checkbox") field.checked = value;
    else if (document.activeElement !== field || field.type !== "number") field.value = value;
  }
  for (const part of all("[data-for]")) part.hidden = part.dataset.for !== view.physics.spectrum;
  $("#fov").textContent = `${Math.round(100 * view.field_of_view_share)} %`;
  $("#kvp").textContent = `${view.physics.tube_kvp} kV`;
  $("#kev").textContent = `${view.physics.energy_kev} keV`;
  $("#pose").value = pose === null ? "" : pose;
  $("#blend-told").textContent = `${$("#blend").value} %`;
  all(".needs-xray").forEach((part) => { part.hidden = pose === null || !known.poses[pose].xray; });
  const same = (point) => point.every((mm, i) => Math.abs(mm - view.isocentre_mm[i]) < 0.02);
  const options = isocentres();
  const index = options.findIndex((option) => same(option.mm));
  $("#isocentre").options[options.length].hidden = index >= 0;
  $("#isocentre").selectedIndex = index >= 0 ? index : options.length;
}

function isocentres() {
  const usual = { name: known.isocentre, title: known.isocentre ? known.isocentre.replaceAll("_", " ") : known.landmarks.length ? "mean of landmarks" : "middle of the CT", mm: known.isocentre_mm };
  return [usual, ...known.landmarks.filter((l) => l.name !== known.isocentre)];
}

function isocentreName() {
  const option = isocentres()[$("#isocentre").selectedIndex];
  return option ? option.name : known.isocentre;
}

function tell(live) { // in the header: what the image is made of, and how fast
  if (!frame) return;
  const [w, h] = frame.detector_px, voxel = frame.voxel_mm.map((mm) => mm.toFixed(1)).join(" × ");
  const recent = times.filter((t) => t > performance.now() - 1000).length;
  $("#status").textContent = `${frame.width_px} × ${frame.height_px} px, CT at ${voxel} mm${live && recent > 2 ? `, ${recent} images/s` : ""}`;
  $("#geometry").textContent = `${(w * frame.pixel_mm).toFixed(0)} × ${(h * frame.pixel_mm).toFixed(0)} mm; ` +
    `${frame.at_isocentre_mm.toFixed(3)} mm a pixel at the isocentre`;
}

async function copy() {
  if (pose !== null) return complain(new Error("A registered pose is no C-arm's view: turn it first"));
  if (!plan) await settle();
  if (!plan) return;
  try {
    await navigator.clipboard.writeText(plan.yaml);
    $("#copy").textContent = "Copied";
    setTimeout(() => { $("#copy").textContent = "Copy as YAML"; }, 1500);
  } catch { // a browser that does not let us
    $("#yaml textarea").value = plan.yaml;
    $("#yaml").showModal();
    $("#yaml textarea").select();
  }
}

function edited(field) {
  const [first, second] = field.dataset.key.split(".");
  const value = field.type === "checkbox" ? field.checked : field.tagName === "SELECT" ? field.value : Number(field.value);
  if (field.type !== "checkbox" && (!field.checkValidity() || field.value === "")) return;
  leavePose();
  if (second) view[first] = { ...view[first], [second]: value };
  else view[first] = value;
  current = null;
  changed();
}

// ------------------------------------------------------------------------------------------ keys

const toggle = (id) => () => { $(id).checked = !$(id).checked; $(id).dispatchEvent(new Event("change")); };
const KEYS = {
  ArrowLeft: (step) => turn(-step, 0),
  ArrowRight: (step) => turn(step, 0),
  ArrowUp: (step) => turn(0, step),
  ArrowDown: (step) => turn(0, -step),
  "+": () => zoom(0.95),
  "=": () => zoom(0.95),
  "-": () => zoom(1 / 0.95),
  0: () => turn(-view.primary_deg, -view.secondary_deg),
  ",": () => goToPlanned(current ? current[1] - 1 : 0),
  ".": () => goToPlanned(current ? current[1] + 1 : 0),
  l: toggle("#show-landmarks"),
  n: toggle("#show-names"),
  d: toggle("#show-found"),
  m: () => { leavePose(); view.flip = !view.flip; changed(); },
  c: copy,
  "?": () => $("#help").showModal(),
};

function pressed(event) {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const figure = event.target.closest("figure");
  if (figure && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    return throughSlices(figure, event.key === "ArrowUp" ? 1 : -1);
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event.shiftKey ? 10 : 1);
}

// ----------------------------------------------------------------------------------------- start

function option(select, text, value) {
  select.add(new Option(text, value));
}

function build() {
  $("#title").textContent = known.title;
  document.title = `${known.title} · raymark view`;
  for (const each of isocentres()) option($("#isocentre"), each.title, each.name);
  option($("#isocentre"), "of the planned view", "");
  known.view_sets.forEach((set, i) => option($("#view-sets"), set.title, i));
  option($("#view-sets"), known.view_sets.length ? "none" : "none planned", "");
  option($("#pose"), "C-arm", "");
  known.poses.forEach((each, i) => option($("#pose"), each.name, i));
  all(".needs-model").forEach((part) => { part.hidden = !known.model; });
  all(".needs-pose").forEach((part) => { part.hidden = !known.poses.length; });
  $("table").classList.toggle("with-error", known.model);
  $("#show-names").checked = known.landmarks.length <= 30;
  known.landmarks.forEach((landmark, i) => {
    const row = $("#landmarks").insertRow();
    row.insertCell().textContent = row.title = landmark.title;
    row.insertCell();
    row.insertCell();
    row.addEventListener("click", () => choose(i === chosen ? null : i));
  });
}

function listen() {
  dragged($("#stage"), TURN_DEG_PER_PX, tapImage);
  dragged($("#sphere"), TURN_DEG_PER_PX * 1.6, tapSphere);
  $("#stage").addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY > 0 ? 1 / 0.95 : 0.95); }, { passive: false });
  for (const field of all("[data-key]")) field.addEventListener("input", () => edited(field));
  for (const id of ["#show-landmarks", "#show-names"]) $(id).addEventListener("change", drawOver);
  $("#show-found").addEventListener("change", () => { drawOver(); if (!found) settle(); });
  for (const id of ["#around-primary", "#around-secondary", "#around-count"]) $(id).addEventListener("input", () => changed());
  $("#view-sets").addEventListener("change", drawSphere);
  $("#isocentre").addEventListener("change", () => {
    const there = isocentres()[$("#isocentre").selectedIndex];
    if (there) { leavePose(); view.isocentre_mm = there.mm; changed(); }
  });
  $("#pose").addEventListener("change", () => { const value = $("#pose").value; if (value === "") { leavePose(); changed(); } else goToPose(Number(value)); });
  $("#blend").addEventListener("input", () => { fill(); if (frame) draw(); });
  $("#copy").addEventListener("click", copy);
  $("#help-open").addEventListener("click", () => $("#help").showModal());
  for (const button of all("[data-go]")) button.addEventListener("click", () => {
    const [primary, secondary] = button.dataset.go.split(" ").map(Number);
    leavePose();
    turn(primary - view.primary_deg, secondary - view.secondary_deg);
  });
  for (const figure of all("figure")) {
    figure.addEventListener("wheel", (event) => { event.preventDefault(); throughSlices(figure, event.deltaY > 0 ? -1 : 1); }, { passive: false });
    figure.addEventListener("pointerdown", (event) => tapSlice(figure, event));
    figure.addEventListener("pointermove", (event) => { if (event.buttons & 1) tapSlice(figure, event); });
  }
  document.addEventListener("keydown", pressed);
  new ResizeObserver(() => { if (frame) draw(); drawSphere(); drawSlices(); }).observe(document.body);
}

async function start() {
  known = await (await ask("about")).json();
  view = structuredClone(known.start);
  const [x, y, z] = known.grid.shape;
  at = [(x - 1) / 2, (y - 1) / 2, (z - 1) / 2];
  build();
  listen();
  if (known.poses.length) goToPose(0);
  else changed();
  $("#stage").focus({ focusVisible: false });
}

start().catch(complain);
