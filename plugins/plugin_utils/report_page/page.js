/*
 * Copyright (c) 2026 The vfio.migration authors
 * GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Draws the report from the data in the page, which plugin_utils/_view.py describes. Whatever the data say is set as
 * textContent or drawn on a canvas; nothing here makes markup, styles or code of it.
 */
(() => {
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const word = number => data.words[number];
const words = numbers => numbers.map(word);

const PAGE = 25;
const MEMBERS = 100;
const LONG = 160;
const HEAD = 56;
const ROW = 26;
const SIDE = 180; // names of rows
const SMALL_SIDE = 110; // and in a narrow window
const TALL = 8000; // pixels that a picture may be high on paper
const SHEET = 680; // pixels of a page of paper
const MAX_ROWS = 60;
const MAX_COLUMNS = 120;
const MAX_HOSTS = 20;

const STATES = [
  ["ready", "ready"], ["no_room", "no room"], ["unknown", "unknown"], ["blocked", "blocked"],
  ["idle", "nothing to move"], ["lost", "not known"],
];
const HOST_WORDS = ["can be emptied", "no room", "unknown", "blocked", "nothing to move", "not known"];
const ANSWERS = [
  ["yes", "yes", "accepted, and there is room"],
  ["full", "full", "accepted, no room"],
  ["maybe", "room?", "accepted, room not known"],
  ["unknown", "?", "unknown"],
  ["no", "no", "refused"],
  ["own", "own", "only its own host"],
];

// --- small helpers

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) {
      node.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

const section = name => document.getElementById(name);
const swatch = kind => el("span", {class: `swatch ${kind}`, "aria-hidden": "true"});
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const unique = list => [...new Set(list)];
const short = text => text.length > 60 ? `${text.slice(0, 60)}...` : text;
const where = list => list.length > 2 ? `${list.length.toLocaleString("en")} hosts` : some(list, 2);
const some = (list, most) => list.slice(0, most).map(short).join(", ") + (list.length > most ? ` and ${list.length - most} more` : "");
const color = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A long text gets a box of its own to scroll in. */
const clipped = text => text.length > LONG || /\S{48}/.test(text) ? el("span", {class: "clip", tabindex: "0"}, text) : text;

function legend(entries) {
  return el("ul", {class: "legend"}, ...entries.map(([kind, text]) => el("li", {}, swatch(kind), text)));
}

function state(number, names) {
  return el("span", {}, swatch(STATES[number][0]), (names || STATES.map(one => one[1]))[number]);
}

// --- charts: all are drawn again when the colours change, or the page is printed

const charts = [];

/** height, option: (width, whether it is for paper) -> pixels, and what ECharts draws; least: pixels, else it is scrolled. */
function chart(parent, height, label, option, least = 0) {
  const box = el("div", {class: "chart", role: "img", "aria-label": label});
  box.style.minWidth = `${least}px`;
  box.style.height = `${height(SHEET, false)}px`;
  parent.append(box);
  const one = {box, option, height, made: null};
  charts.push(one);
  draw(one);
  return one;
}

function draw(one, width) {
  if (!one.box.isConnected || (!width && !one.box.clientWidth)) {
    return; // drawn when its block is opened
  }
  const size = {width: width || one.box.clientWidth};
  size.height = one.height(size.width, Boolean(width));
  one.box.style.height = `${size.height}px`;
  if (!one.made) {
    one.made = echarts.init(one.box, null, {renderer: "canvas", ...size});
    if (one.ready) {
      one.ready(one.made);
    }
  } else {
    one.made.resize(size);
  }
  const text = {color: color("ink"), fontFamily: getComputedStyle(document.body).fontFamily};
  one.made.setOption({animation: false, textStyle: text, ...one.option(size.width, Boolean(width))}, true);
  one.made.getZr().flush();
  if (width) {
    one.box.querySelectorAll("canvas").forEach(still);
  }
}

/** Chromium prints what was just drawn stroke by stroke, and loses most of them; one picture is printed as it is. */
function still(canvas) {
  const copy = el("canvas", {width: canvas.width, height: canvas.height});
  copy.getContext("2d").drawImage(canvas, 0, 0);
  const context = canvas.getContext("2d");
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalCompositeOperation = "copy";
  context.drawImage(copy, 0, 0);
  context.restore();
}

function redraw(width) {
  charts.filter(one => one.made).forEach(one => draw(one, width));
}

// --- tables: filtered by the search, sorted by their heads, a page at a time

const tables = [];

/** columns: {title, value: row -> text or number, cell: row -> node (optional), kind: class (optional)}. */
function table(parent, name, columns, rows, facet) {
  const entries = rows.map(row => ({row, text: null}));
  const one = {facet: "", sorted: null, shown: PAGE};
  const body = el("tbody");
  const count = el("span", {role: "status"});
  const more = el("button", {type: "button", class: "more", onclick: () => { one.shown += 20 * PAGE; one.update(); }});
  const cut = el("p", {class: "cut"});
  const heads = columns.map((column, number) => el(
    "th", {scope: "col", class: column.kind}, el("button", {type: "button", onclick: () => sort(number)}, column.title)));
  const bar = el("div", {class: "bar"}, facet ? chooser(facet, entries, value => { one.facet = value; one.update(); }) : null, count);
  parent.append(bar, el("div", {class: "scroll"}, el(
    "table", {}, el("caption", {}, name), el("thead", {}, el("tr", {}, ...heads)), body)), more, cut);

  function sort(number) {
    const down = one.sorted && one.sorted.number === number && !one.sorted.down;
    one.sorted = {number, down};
    heads.forEach((head, place) => head.removeAttribute("aria-sort"));
    heads[number].setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = columns[number].value;
    const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
    entries.sort((a, b) => (down ? -1 : 1) * order(value(a.row), value(b.row)));
    one.update();
  }

  one.update = () => {
    const found = entries.filter(entry => {
      if (entry.text === null) {
        entry.text = columns.map(column => column.value(entry.row)).join("\n").toLowerCase();
      }
      return matches(entry.text) && (!one.facet || facet.value(entry.row) === one.facet);
    });
    body.replaceChildren(...found.slice(0, one.shown).map(({row}) => el("tr", {}, ...columns.map(column => {
      const shown = column.cell ? column.cell(row) : clipped(String(column.value(row) ?? ""));
      return el("td", {class: column.kind}, shown);
    }))));
    count.textContent = found.length === entries.length ? plural(found.length, "row") : `${found.length} of ${plural(entries.length, "row")}`;
    more.hidden = found.length <= one.shown;
    more.textContent = `Show more (${found.length - one.shown} left)`;
    cut.textContent = more.hidden ? "" : `${plural(found.length - one.shown, "more row")} are not shown here.`.replace("row are", "row is");
    one.found = found.length;
    return found.length;
  };
  tables.push(one);
  one.update();
  return one;
}

function chooser(facet, entries, chosen) {
  const values = unique(entries.map(entry => facet.value(entry.row)));
  const options = values.map(value => el("option", {value}, value));
  return el("label", {}, `${facet.title} `, el(
    "select", {onchange: event => chosen(event.target.value)}, el("option", {value: ""}, "all"), ...options));
}

// --- search

let wanted = [];
const listeners = [];
const matches = text => wanted.every(part => text.includes(part));

function search(text) {
  wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  tables.forEach(one => { one.shown = PAGE; found += one.update(); });
  listeners.forEach(listener => listener());
  section("found").textContent = wanted.length ? `${plural(found, "row")} found` : "";
}

// --- heat maps: a grid of cells that mouse and keyboard choose from

/**
 * grid: {label, rows: [text], columns: [text], heads: [[text]] above the columns, cells: [[row, column, kind, text]], kinds: [css colour name],
 * nothing: text of an empty cell, say: cell -> text, open: (cell, where the focus was)}.
 */
function heatMap(parent, grid) {
  const at = new Map(grid.cells.map((cell, number) => [`${cell[0]},${cell[1]}`, number]));
  const say = el("p", {class: "state", role: "status"});
  let cursor = null;
  // The names of rows stay where they are when the cells are scrolled; on paper they are part of the picture.
  const sides = el("div", {class: "rows", "aria-hidden": "true"}, ...grid.rows.map(row => el("div", {title: row}, el("span", {}, row))));
  const scroll = el("div", {class: "scroll map"}, sides);
  parent.append(scroll, say);
  const side = () => matchMedia("(max-width: 560px)").matches ? SMALL_SIDE : SIDE; // as in page.css
  const one = chart(scroll, (width, printed) => strips(grid, width, printed).length * stripHeight(grid), grid.label,
    (width, printed) => option(grid, width, printed ? SIDE : side(), printed), side() + 10 + leastCell(grid) * grid.columns.length);
  one.box.tabIndex = 0;
  one.box.setAttribute("role", "application");
  one.box.setAttribute("aria-label", `${grid.label}. Arrow keys choose a cell, Enter opens it.`);

  const cellWidth = () => (one.box.clientWidth - side() - 10) / grid.columns.length;

  function show(row, column) {
    cursor = [row, column];
    const number = at.get(`${row},${column}`);
    one.made.dispatchAction({type: "downplay", seriesIndex: 0});
    if (number !== undefined) {
      one.made.dispatchAction({type: "highlight", seriesIndex: 0, dataIndex: number});
    }
    const right = side() + (column + 1) * cellWidth();
    scroll.scrollLeft = Math.max(right - scroll.clientWidth, Math.min(scroll.scrollLeft, column * cellWidth()));
    say.textContent = number === undefined
      ? `${grid.rows[row]}, ${grid.columns[column]}: ${grid.nothing}` : grid.say(grid.cells[number]);
  }
  function open() {
    const number = cursor && at.get(`${cursor[0]},${cursor[1]}`);
    if (number !== undefined && number !== null) {
      grid.open(grid.cells[number], one.box);
    }
  }
  one.box.addEventListener("keydown", event => {
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (step) {
      const [row, column] = cursor ? [cursor[0] + step[0], cursor[1] + step[1]] : [0, 0];
      show(Math.max(0, Math.min(row, grid.rows.length - 1)), Math.max(0, Math.min(column, grid.columns.length - 1)));
    } else if (event.key === "Enter" || event.key === " ") {
      open();
    } else {
      return;
    }
    event.preventDefault();
  });
  one.ready = made => {
    made.on("mouseover", event => event.seriesType === "heatmap" && show(...grid.cells[event.dataIndex]));
    // A head is often cut off.
    made.getZr().on("mousemove", ({offsetX, offsetY}) => {
      const column = Math.floor((offsetX - side()) / cellWidth());
      if (offsetY < HEAD && column in grid.columns) {
        say.textContent = grid.columns[column];
      }
    });
    made.on("click", event => {
      if (event.seriesType === "heatmap") {
        show(...grid.cells[event.dataIndex]);
        open();
      }
    });
  };
  if (one.made) {
    one.ready(one.made);
  }
  return one;
}

/** So wide that a cell has its word; few columns also have room for what they are. */
const leastCell = grid => grid.columns.length > 14 ? 40 : 72;
const stripHeight = grid => ROW * grid.rows.length + HEAD + 2;

/** Where the columns of each strip begin and end: paper can not be scrolled, so a wide grid is cut into strips. */
function strips(grid, width, printed) {
  const all = grid.columns.length;
  const fitting = Math.max(1, Math.floor((width - SIDE - 10) / leastCell(grid)));
  const most = Math.floor(TALL / stripHeight(grid));
  if (!printed || all <= fitting || Math.ceil(all / fitting) > most) {
    return [[0, all]];
  }
  return Array.from({length: Math.ceil(all / fitting)}, (_, number) => [number * fitting, Math.min(all, (number + 1) * fitting)]);
}

function option(grid, width, side, printed) {
  const parts = strips(grid, width, printed);
  // All strips have cells of one width.
  const cell = (width - side - 10) / (parts[0][1] - parts[0][0]);
  const drawn = parts.map(([begin, end], number) => strip(grid, {begin, end, number, cell, side, printed}));
  return {
    grid: drawn.map(part => part.grid),
    xAxis: drawn.map(part => part.xAxis),
    yAxis: drawn.map(part => part.yAxis),
    visualMap: {
      show: false, type: "piecewise", dimension: 2,
      pieces: grid.kinds.map((kind, value) => ({value, color: color(kind)})),
    },
    series: drawn.map(part => part.series),
  };
}

function strip(grid, {begin, end, number, cell, side, printed}) {
  const narrow = cell < 64;
  const ink = color("ink");
  const line = {lineStyle: {color: color("line")}};
  const cells = grid.cells.filter(one => one[1] >= begin && one[1] < end);
  return {
    grid: {left: side, width: cell * (end - begin), top: number * stripHeight(grid) + HEAD, height: ROW * grid.rows.length},
    xAxis: {
      // Few columns have room for what they are, many only for their names.
      type: "category", gridIndex: number, position: "top", axisTick: {show: false}, axisLine: line,
      data: grid.heads.slice(begin, end).map(parts => narrow ? parts[0] : parts.filter(Boolean).join("\n")),
      axisLabel: {
        color: ink, fontSize: 12, lineHeight: 15, overflow: "truncate",
        rotate: narrow ? 60 : 0, width: narrow ? 50 : cell - 6, interval: cell < 13 ? "auto" : 0,
      },
    },
    yAxis: {
      type: "category", gridIndex: number, inverse: true, data: grid.rows, axisTick: {show: false}, axisLine: line,
      axisLabel: {show: printed, color: ink, interval: 0, overflow: "truncate", fontSize: 12, width: side - 12},
    },
    series: {
      type: "heatmap", xAxisIndex: number, yAxisIndex: number,
      data: cells.map(([row, column, kind]) => (
        {value: [column - begin, row, kind], label: {color: color(`on-${grid.kinds[kind]}`) || ink}})),
      label: {show: cell >= 34, fontSize: 12, formatter: ({dataIndex}) => cells[dataIndex][3]},
      itemStyle: {borderColor: color("paper"), borderWidth: 1},
      emphasis: {itemStyle: {borderColor: ink, borderWidth: 3}},
    },
  };
}

// --- at a glance

function glance() {
  const here = section("glance");
  section("time").textContent = `${data.time}, ${plural(data.hosts.length, "host")}${data.partial ? ", PARTIAL" : ""}`;
  if (data.partial) {
    here.append(el("p", {class: "note"}, "Partial: not every host could be taken into account, or not in full. What they have and would accept is not in here."));
  }
  const kinds = [["hosts", "Hosts", HOST_WORDS], ["VMs", "VMs", null], ["devices", "Devices", null]];
  const tiles = kinds.map(([kind, title, names]) => {
    const counts = data.counts[kind];
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const lines = STATES.map(([name], number) => counts[name] ? el("li", {}, `${counts[name].toLocaleString("en")} `, state(number, names)) : null);
    return el("div", {class: "tile"}, el("b", {}, total.toLocaleString("en")), ` ${title}`, el("ul", {}, ...lines));
  });
  here.append(el("div", {class: "tiles"}, ...tiles));
  chart(here, () => 150, "Share of hosts, VMs and devices in each state; the numbers stand above.", () => ({
    grid: {left: 70, right: 20, top: 10, bottom: 25},
    xAxis: {type: "value", max: 100, axisLabel: {formatter: "{value} %", color: color("faint")}, splitLine: {lineStyle: {color: color("line")}}},
    yAxis: {type: "category", inverse: true, data: kinds.map(([, title]) => title), axisTick: {show: false}, axisLabel: {color: color("ink")}},
    series: STATES.map(([name, title]) => ({
      type: "bar", stack: "all", name: title, barWidth: 24,
      itemStyle: {color: {ready: color("yes"), no_room: color("full"), unknown: color("unknown"), blocked: color("no"), idle: color("free"), lost: color("line")}[name]},
      data: kinds.map(([kind]) => {
        const total = Object.values(data.counts[kind]).reduce((sum, count) => sum + count, 0);
        return total ? 100 * (data.counts[kind][name] || 0) / total : 0;
      }),
    })),
  }));
  if (data.advice.length) {
    here.append(el("h3", {}, "What to do next"), el("ul", {class: "advice"}, ...words(data.advice).map(line => el("li", {}, line))));
  }
}

// --- hosts

function hosts() {
  const here = section("hosts");
  here.append(el("p", {class: "said"}, "Each VM is judged by itself: another host takes it now, with all its devices. Whether all of them fit together, and in which order, only a plan tells."));
  const why = row => [...row[6].map(([count, text]) => `${count}: ${word(text)}`), ...words(row[7])].join("; ");
  const columns = [
    {title: "Host", value: row => word(row[0])},
    {title: "Can be emptied", value: row => HOST_WORDS[row[3]], cell: row => state(row[3], HOST_WORDS), kind: "short"},
    {title: "To move", value: row => row[4], kind: "number"},
    {title: "What stands in the way", value: why},
    {title: "Facts", value: row => [word(row[1]), word(row[2])].filter(Boolean).join(", "), kind: "short"},
  ];
  if (data.hosts.some(row => row[5] !== null)) {
    columns.splice(2, 0, {title: "Plan", value: row => row[5] === null ? "" : row[5] ? "empties it" : "does not empty it", kind: "short"});
  }
  table(here, "Hosts", columns, data.hosts, {title: "Can be emptied", value: row => HOST_WORDS[row[3]]});
}

// --- the matrix

const pairAt = new Map(data.pairs.map(pair => [`${pair[0]},${pair[1]}`, pair]));
const sourceName = number => {
  const [id, , , , , , members] = data.sources[number];
  const devices = members.filter(member => word(member[2])).length;
  return `${short(word(id))}: ${devices ? devices + " on " : "on "}${where(unique(members.map(member => word(member[0]))))}`;
};
const targetParts = number => {
  const [id, scope, , , , , members] = data.targets[number];
  return [short(word(id)), word(scope), where(unique(members.map(member => word(member[0]))))];
};
const targetName = number => {
  const [id, scope, hosts] = targetParts(number);
  return `${id}: ${scope} on ${hosts}`;
};
const texts = new Map();
function classText(kind, number) {
  const key = kind + number;
  if (!texts.has(key)) {
    const row = data[kind][number];
    const parts = row.slice(0, -1).map(word);
    row[row.length - 1].forEach(member => parts.push(...member.slice(0, kind === "sources" ? 4 : 3).map(word)));
    texts.set(key, parts.join("\n").toLowerCase());
  }
  return texts.get(key);
}

function matrix() {
  const here = section("matrix");
  here.append(
    el("p", {class: "said"}, "From row to column; the other direction is another question. A row is a class of devices that no driver could tell apart, a column a class of targets that answered alike. An empty cell was never asked: another vendor or type. Choose a cell to see its hosts and the evidence; * marks a warning."),
    legend(ANSWERS.map(([kind, text, says]) => [kind, `${text}: ${says}`])),
  );
  const blocks = data.blocks.map((block, number) => new Block(here, block, number < 3));
  const nothing = el("p", {}, "No class fits the filter.");
  here.append(nothing);
  const update = () => { nothing.hidden = blocks.map(block => block.update()).some(Boolean); };
  listeners.push(update);
  update();
}

class Block {
  constructor(parent, [title, rows, columns], open) {
    this.rows = rows;
    this.columns = columns;
    this.count = el("span");
    this.inside = el("div", {class: "inside"});
    this.details = el("details", {open}, el("summary", {}, short(word(title)), " ", this.count), this.inside);
    this.title = word(title);
    this.details.addEventListener("toggle", () => this.draw());
    parent.append(this.details);
  }

  update() {
    const rows = this.rows.map(row => [row, matches(classText("sources", row))]);
    const columns = this.columns.map(column => [column, matches(classText("targets", column))]);
    const some = rows.some(row => row[1]) || columns.some(column => column[1]);
    // Whoever looks for a device wants to see all its targets, and the reverse.
    const keep = list => list.some(one => one[1]) ? list.filter(one => one[1]).map(one => one[0]) : list.map(one => one[0]);
    this.shown = [keep(rows), keep(columns)];
    this.details.hidden = !some;
    this.count.textContent = `${plural(this.shown[0].length, "class").replace("classs", "classes")} of devices, ${this.shown[1].length} of targets`;
    this.stale = true;
    this.draw();
    return some;
  }

  draw() {
    if (!this.details.open || this.details.hidden || !this.stale) {
      return;
    }
    this.stale = false;
    charts.splice(0, charts.length, ...charts.filter(one => {
      const mine = this.inside.contains(one.box);
      if (mine && one.made) {
        one.made.dispose();
      }
      return !mine;
    }));
    const rows = this.shown[0].slice(0, MAX_ROWS);
    const columns = this.shown[1].slice(0, MAX_COLUMNS);
    const cells = [];
    rows.forEach((row, y) => columns.forEach((column, x) => {
      const pair = pairAt.get(`${row},${column}`);
      if (pair) {
        cells.push([y, x, pair[2], ANSWERS[pair[2]][1] + (word(pair[7]) ? "*" : ""), pair]);
      }
    }));
    const detail = el("div", {class: "detail", tabindex: "-1", hidden: true});
    const parts = [];
    const cut = this.shown[0].length - rows.length + this.shown[1].length - columns.length;
    if (cut) {
      parts.push(el("p", {class: "said"}, `${plural(cut, "smaller class").replace("classs", "classes")} are left out here: filter to see them.`));
    }
    this.inside.replaceChildren(...parts);
    heatMap(this.inside, {
      label: `Heat map of ${this.title}`,
      rows: rows.map(sourceName),
      columns: columns.map(targetName),
      heads: columns.map(targetParts),
      cells,
      kinds: ANSWERS.map(([kind]) => kind),
      nothing: "never asked",
      say: cell => `${sourceName(cell[4][0])} to ${targetName(cell[4][1])}: ${ANSWERS[cell[2]][2]}${word(cell[4][4]) ? ", " + word(cell[4][4]) : ""}`,
      open: (cell, from) => evidence(detail, cell[4], from),
    });
    this.inside.append(detail);
  }
}

function evidence(detail, pair, from) {
  const [source, target, answer, verdict, reason, scope, back, warnings, asked] = pair;
  const decided = {type: "the type's node, asked before a device exists", device: "the device's own node"}[word(scope)] || "nobody was asked";
  const facts = [
    ["Answer", word(verdict)],
    ["In short", ANSWERS[answer][2]],
    ["Reason", word(reason) || "the target's driver accepted it"],
    ["Decided by", decided],
    ["Way back", word(back)],
    ["Warnings", word(warnings) || "none"],
    ["Asked", word(asked) || "never"],
  ];
  const close = () => { detail.hidden = true; from.focus(); };
  detail.onkeydown = event => event.key === "Escape" && close();
  detail.replaceChildren(
    el("h3", {class: "clip"}, `${sourceName(source)} to ${targetName(target)}: ${ANSWERS[answer][1]}`),
    el("dl", {}, ...facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    el("div", {class: "sides"}, sourceSide(data.sources[source]), targetSide(data.targets[target])),
    el("button", {type: "button", class: "close", onclick: close}, "Close (Esc)"),
  );
  detail.hidden = false;
  detail.focus();
}

function members(rows, heads, cells) {
  const body = el("tbody", {}, ...rows.slice(0, MEMBERS).map(row => el("tr", {}, ...cells(row).map(text => el("td", {}, clipped(text))))));
  return el("div", {class: "scroll"}, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(head => el("th", {scope: "col"}, head)))), body),
    rows.length > MEMBERS ? el("p", {class: "said"}, `and ${rows.length - MEMBERS} more, all in the JSON file`) : null);
}

function sourceSide([id, kind, vendor, type, device, typed, rows]) {
  return el("div", {}, el("h3", {}, `From ${word(id)}: ${word(kind)} ${word(type)} of ${word(vendor)}`),
    word(device) ? el("p", {}, "device's own node:") : null, word(device) ? el("pre", {}, word(device)) : null,
    word(typed) ? el("p", {}, "type's node:") : null, word(typed) ? el("pre", {}, word(typed)) : null,
    members(rows, ["Host", "Parent", "Device", "VM"], row => words(row)));
}

function targetSide([id, scope, kind, vendor, type, version, rows]) {
  return el("div", {}, el("h3", {}, `To ${word(id)}: ${word(scope)} ${word(kind)} ${word(type)} of ${word(vendor)}`),
    el("p", {}, "its node:"), el("pre", {}, word(version)),
    members(rows, ["Host", "Parent", "Device", "Room"], row => [word(row[0]), word(row[1]), word(row[2]), row[3] === null ? "not known" : String(row[3])]));
}

// --- VMs and devices

function items() {
  table(section("items"), "VMs, then devices; the worst first", [
    {title: "Host", value: row => word(row[0])},
    {title: "VM", value: row => word(row[1])},
    {title: "Device", value: row => word(row[2]) || "(all of the VM)"},
    {title: "Type", value: row => word(row[3])},
    {title: "State", value: row => STATES[row[4]][1], cell: row => state(row[4]), kind: "short"},
    {title: "Why", value: row => word(row[5])},
  ], data.items, {title: "State", value: row => STATES[row[4]][1]});
}

// --- capacity

const COUPLING = {
  exclusive: "One type at a time: the first instance decides, so free places of its types are alternatives.",
  shared_units: "All types take from one pool of units: free places of its types are alternatives.",
  vector: "All types take from the same resources: free places of its types are alternatives.",
  independent: "Types do not touch each other.",
  unknown: "How its types share a parent is not known; it is planned as one type at a time, so free places are alternatives.",
  silent: "Nothing is known of what is free.",
};

function capacity() {
  const here = section("capacity");
  if (!data.capacity.length) {
    here.append(el("p", {}, "The report was made without the facts of the hosts, so nothing is known."));
    return;
  }
  here.append(el("p", {class: "said"}, "Free is what fits now by that type alone. Never add the free places of types that are coupled."),
    legend([["used", "used"], ["free", "free"]]));
  const rows = [];
  data.capacity.forEach((group, number) => {
    const [model, origin, detail, driver, types, parents] = group;
    const sums = types.map(() => [0, 0]);
    let silent = 0;
    parents.forEach(([host, parent, uses, left]) => uses.forEach(([type, used, room]) => {
      sums[type][0] += used;
      sums[type][1] += room || 0;
      silent += room === null ? 1 : 0;
      rows.push({host, parent, group, type, used, room, left});
    }));
    const coupled = types.length > 1 && !["independent", "silent"].includes(word(model));
    const inside = el("div", {class: "inside"}, el("p", {}, `${types.length > 1 ? COUPLING[word(model)] : "One type only."} Known from: ${word(origin)}; ${word(detail)}.`),
      silent && word(model) !== "silent" ? el("p", {class: "note"}, `Rows of the table below where it is not known how much is free: ${silent}. They are not in the picture.`) : null);
    const details = el("details", {open: number < 4}, el("summary", {}, `${word(driver) || "no driver"}: ${some(types.map(type => word(type[0])), 4)}`,
      el("span", {}, `${plural(parents.length, "parent")}, ${word(model).replace("_", " ")}${coupled ? ", coupled" : ""}`)), inside);
    here.append(details);
    const one = chart(inside, () => 60 + 30 * types.length, `Used and free of each type, in all ${parents.length} parents; the numbers stand in the table below.`, () => capacityOption(types, sums, coupled));
    details.addEventListener("toggle", () => draw(one));
  });
  table(here, "Every parent and type", [
    {title: "Host", value: row => word(row.host)},
    {title: "Parent", value: row => word(row.parent)},
    {title: "Driver", value: row => word(row.group[3])},
    {title: "Type", value: row => word(row.group[4][row.type][0])},
    {title: "Used", value: row => row.used, kind: "number"},
    {title: "Free", value: row => row.room === null ? "?" : row.room, kind: "number"},
    {title: "Takes", value: row => ["exclusive", "unknown"].includes(word(row.group[0])) ? "" : word(row.group[4][row.type][1])},
    {title: "Left of the parent", value: row => row.left.map(([name, units]) => `${units} ${word(name)}`).join(", ")},
    {title: "Coupling", value: row => row.group[4].length > 1 ? word(row.group[0]).replace("_", " ") : "one type"},
  ], rows, {title: "Driver", value: row => word(row.group[3])});
}

function capacityOption(types, sums, coupled) {
  const ink = color("ink");
  const label = {show: true, color: ink, formatter: ({value}) => value ? value.toLocaleString("en") : ""};
  return {
    grid: {left: 180, right: 60, top: 5, bottom: 30},
    xAxis: {type: "value", minInterval: 1, axisLabel: {color: color("faint")}, splitLine: {lineStyle: {color: color("line")}}},
    yAxis: {type: "category", inverse: true, data: types.map(type => word(type[0])), axisTick: {show: false}, axisLabel: {color: ink, width: 168, overflow: "truncate"}},
    series: [
      {type: "bar", stack: "all", barMaxWidth: 20, itemStyle: {color: color("used")}, label: {...label, color: "#ffffff"}, data: sums.map(([used]) => used)},
      // Beside its bar: few free places are narrower than their number, and hatching makes it hard to read.
      {type: "bar", stack: "all", barMaxWidth: 20, label: {...label, position: "right"}, data: sums.map(([, room]) => room),
        // Coupled places are hatched: they are not there all at once.
        itemStyle: {color: color("free"), decal: coupled ? {symbol: "rect", color: color("paper"), dashArrayX: [1, 0], dashArrayY: [2, 6], rotation: Math.PI / 4} : null}},
    ],
  };
}

// --- the plan

function plan() {
  const here = section("plan");
  if (!data.plan) {
    here.append(el("p", {}, "No plan was given to this report."));
    return;
  }
  const {head, batches, moves, stuck, stopped, notes} = data.plan;
  here.append(...words(head).map(line => el("p", {}, line)));
  if (batches.length) {
    here.append(el("ul", {}, ...batches.slice(0, 50).map(([number, all, emptied, waves]) => {
      const stay = words(all.filter(host => !emptied.includes(host)));
      return el("li", {}, `Batch ${number}: maintenance of ${some(words(all), 20)}`, waves.length ? `, after wave ${waves[waves.length - 1]}` : "",
        stay.length ? `; NOT EMPTIED: ${some(stay, 20)}` : "");
    })));
  }
  if (stopped.length) {
    here.append(el("h3", {}, "Stopped with their hosts, not migrated"));
    table(here, "Stopped VMs", [
      {title: "VM", value: row => word(row[0])}, {title: "Host", value: row => word(row[1])}], stopped);
  }
  if (moves.length) {
    waves(here, moves);
    table(here, "Moves", [
      {title: "Wave", value: row => row[0], kind: "number"},
      {title: "Batch", value: row => row[1] === null ? "" : row[1], kind: "number"},
      {title: "VM", value: row => word(row[2])},
      {title: "From", value: row => word(row[3])},
      {title: "To", value: row => word(row[4])},
      {title: "On", value: row => word(row[5])},
    ], moves, {title: "Wave", value: row => String(row[0])});
  }
  if (stuck.length) {
    here.append(el("h3", {}, "Stuck: these can not move"));
    const list = texts => texts.length ? el("ul", {class: "advice"}, ...texts.map(text => el("li", {}, text))) : "nothing that was tried";
    table(here, "Stuck VMs", [
      {title: "VM", value: row => word(row[0])},
      {title: "Host", value: row => word(row[1])},
      {title: "Reason", value: row => word(row[2])},
      {title: "In words", value: row => word(row[3])},
      {title: "Who has what it needs", value: row => words(row[4]).join(", ")},
      {title: "Any of these frees it", value: row => words(row[5]).join("; "), cell: row => list(words(row[5]))},
    ], stuck, {title: "Reason", value: row => word(row[2])});
  }
  if (notes.length) {
    table(here, "Notes of the planner", [
      {title: "About", value: row => word(row[0])}, {title: "What", value: row => word(row[1])}], notes);
  }
}

function waves(here, moves) {
  const counts = new Map();
  const add = (host, side, wave) => {
    const key = `${side}${host}`;
    counts.set(key, counts.get(key) || {host, side, total: 0, waves: new Map()});
    const one = counts.get(key);
    one.total += 1;
    one.waves.set(wave, (one.waves.get(wave) || 0) + 1);
  };
  moves.forEach(([wave, , , source, target]) => { add(source, 0, wave); add(target, 1, wave); });
  const all = unique(moves.map(move => move[0]));
  const first = one => Math.min(...one.waves.keys());
  const ranked = [...counts.values()].sort((a, b) => b.total - a.total);
  const half = side => ranked.filter(one => one.side === side).slice(0, MAX_HOSTS).sort((a, b) => first(a) - first(b));
  const rows = [...half(0), ...half(1)];
  const columns = all.slice(0, MAX_COLUMNS);
  const cells = rows.flatMap((one, y) => columns.map((wave, x) => [y, x, one.side, `${one.side ? "+" : "-"}${one.waves.get(wave)}`, one, wave]).filter(cell => one.waves.has(cell[5])));
  const named = (one, wave) => some(moves.filter(move => move[0] === wave && move[3 + one.side] === one.host).map(move => `${word(move[2])} ${one.side ? "from " + word(move[3]) : "to " + word(move[4])}`), 12);
  const batch = new Map(moves.map(move => [move[0], move[1]]));
  here.append(el("h3", {}, "Waves: who leaves which host, and who arrives where"),
    legend([["leave", "VMs that leave the host in this wave"], ["arrive", "VMs that arrive"]]));
  if (ranked.length > rows.length || all.length > columns.length) {
    here.append(el("p", {class: "said"}, "Not all hosts and waves fit in here; the table below has every move."));
  }
  const detail = el("div", {class: "detail", tabindex: "-1", hidden: true});
  heatMap(here, {
    label: "Moves of each host in each wave",
    rows: rows.map(one => `${one.side ? "to" : "from"} ${word(one.host)}`),
    columns: columns.map(wave => `wave ${wave}`),
    heads: columns.map(wave => [`wave ${wave}`, batch.get(wave) === null ? "" : `batch ${batch.get(wave)}`]),
    cells,
    kinds: ["leave", "arrive"],
    nothing: "no move",
    say: cell => `wave ${cell[5]}, ${cell[4].side ? "to" : "from"} ${word(cell[4].host)}: ${named(cell[4], cell[5])}`,
    open: (cell, from) => {
      const [, , , , one, wave] = cell;
      const chosen = moves.filter(move => move[0] === wave && move[3 + one.side] === one.host);
      const close = () => { detail.hidden = true; from.focus(); };
      detail.onkeydown = event => event.key === "Escape" && close();
      detail.replaceChildren(
        el("h3", {}, `Wave ${wave}, ${one.side ? "to" : "from"} ${word(one.host)}`),
        members(chosen, ["VM", "From", "To", "On"], move => words(move.slice(2))),
        el("button", {type: "button", class: "close", onclick: close}, "Close (Esc)"));
      detail.hidden = false;
      detail.focus();
    },
  });
  here.append(detail);
}

// --- findings

/** All of them are searched, the first are shown. */
const among = numbers => clipped((numbers.length > 2 ? `${plural(numbers.length, "host")}: ` : "") + some(words(numbers), 100));

function findings() {
  const here = section("findings");
  if (!data.findings.length) {
    here.append(el("p", {}, "None."));
    return;
  }
  table(here, "The most pressing first", [
    {title: "Finding", value: row => word(row[0])},
    {title: "Meaning", value: row => word(row[1])},
    {title: "Hosts", value: row => words(row[2]).join(", "), cell: row => among(row[2])},
    {title: "Item", value: row => word(row[3])},
    {title: "What, and what to do", value: row => `${word(row[4])} ${word(row[5])}`,
      cell: row => el("div", {}, clipped(word(row[4])), el("br"), word(row[5]) ? el("strong", {}, word(row[5])) : null)},
  ], data.findings, {title: "Finding", value: row => word(row[0])});
}

// --- notes of hosts

function notes() {
  const here = section("notes");
  if (!data.notes.length) {
    here.append(el("p", {}, "None."));
    return;
  }
  here.append(el("p", {class: "said"}, "What was dropped or is not known on a host, and why. The same words of many hosts are one row."));
  const about = row => words(row[2]).join(", ") + (row[3] > row[2].length ? ` and ${(row[3] - row[2].length).toLocaleString("en")} more` : "");
  table(here, "Those of most hosts first", [
    {title: "Note", value: row => word(row[0])},
    {title: "What, and why", value: row => word(row[4])},
    {title: "Hosts", value: row => words(row[1]).join(", "), cell: row => among(row[1])},
    {title: "Item", value: about},
  ], data.notes, {title: "Note", value: row => word(row[0])});
  if (data.unshown) {
    here.append(el("p", {class: "said"}, `${plural(data.unshown, "more note")} of single hosts are in the JSON file.`));
  }
}

// --- put together

[glance, hosts, matrix, items, capacity, plan, findings, notes].forEach(part => part());

let timer = 0;
section("search").addEventListener("input", event => {
  clearTimeout(timer);
  timer = setTimeout(() => search(event.target.value), 150);
});
section("filter").addEventListener("submit", event => event.preventDefault());
document.addEventListener("keydown", event => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    section("search").focus();
    event.preventDefault();
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => fit());
const paper = matchMedia("print");
const fit = () => redraw(paper.matches ? SHEET : 0);
paper.addEventListener("change", fit);
addEventListener("beforeprint", () => redraw(SHEET));
addEventListener("afterprint", fit);
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(fit, 100);
});
})();
